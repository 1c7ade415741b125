#include "data/tokenizer/json_tokenizer.h"

#include <algorithm>
#include <random>

#include "data/tokenizer/word_splitter.h"
#include "tests/data/small_tokenizer.h"

namespace pscale {
namespace {

using Ids = std::vector<int32_t>;

class JsonTokenizer : public FolderTest {
 protected:
  std::string write(const Json& json) const { return put("tokenizer.json", json.dump()); }
  Ids encode(const Json& json, const std::string& text) const { return ids_of(*make_tokenizer(write(json)), text); }
  std::string refusal(const Json& json) const {
    const std::string path = write(json), error = error_of([&] { make_tokenizer(path); });
    EXPECT_TRUE(error.starts_with(path + ": ")) << error;
    return error;
  }
};

/// The ids of the bytes of a text.
Ids bytes(const std::string& text) {
  const auto letters = byte_letters();
  Ids ids;
  for (const char c : text)
    ids.push_back(static_cast<int32_t>(std::find(letters.begin(), letters.end(), std::string(1, c)) - letters.begin()));
  return ids;
}

constexpr int32_t kHell = 258, kHello = 259, kSpaceHello = 260, kTwelve = 261, kEnd = 262;

TEST_F(JsonTokenizer, MergesByRankWithinWords) {
  EXPECT_EQ(encode(small_tokenizer(), "hello hello12"), (Ids{kHello, kSpaceHello, kTwelve}));
  EXPECT_EQ(encode(small_tokenizer(), "hell"), (Ids{kHell}));
  EXPECT_EQ(encode(small_tokenizer(), ""), (Ids{}));
}

TEST_F(JsonTokenizer, BothSpellingsOfMergesAreTheSame) {
  Json json = small_tokenizer();
  Json& merges = json["model"]["merges"];
  for (Json& merge : merges) {
    const auto both = merge.get<std::string>();
    const size_t blank = both.find(' ');
    merge = {both.substr(0, blank), both.substr(blank + 1)};
  }
  EXPECT_EQ(encode(json, "hello hello12"), (Ids{kHello, kSpaceHello, kTwelve}));
}

TEST_F(JsonTokenizer, IgnoreMergesTakesWholeWords) {
  Json json = small_tokenizer();
  json["model"]["merges"].erase(0);  // no way leads to "he" and beyond
  Ids expected = bytes("he");
  expected.push_back(257);
  for (const int32_t id : bytes("o")) expected.push_back(id);
  EXPECT_EQ(encode(json, "hello"), expected);
  json["model"]["ignore_merges"] = true;
  EXPECT_EQ(encode(json, "hello"), (Ids{kHello}));
}

TEST_F(JsonTokenizer, DigitsStandAlone) {
  Json json = small_tokenizer();
  json["pre_tokenizer"] = {{"type", "Sequence"},
                           {"pretokenizers", {{{"type", "Digits"}, {"individual_digits", true}}, json["pre_tokenizer"]}}};
  EXPECT_EQ(encode(json, "12"), bytes("12"));
  json["pre_tokenizer"]["pretokenizers"][0]["individual_digits"] = false;
  EXPECT_EQ(encode(json, "12"), (Ids{kTwelve}));
}

TEST_F(JsonTokenizer, AddedTokensAreFoundFirst) {
  EXPECT_EQ(encode(small_tokenizer(), "hello<|endoftext|> hello"), (Ids{kHello, kEnd, kSpaceHello}));
  Json json = small_tokenizer();
  Json& added = json["added_tokens"][0];
  added["lstrip"] = added["rstrip"] = true;
  EXPECT_EQ(encode(json, "hello \n<|endoftext|>\t hello"), (Ids{kHello, kEnd, kHello}));
  json["added_tokens"].push_back({{"id", kEnd + 1}, {"content", "lo"}, {"single_word", true}});
  EXPECT_EQ(encode(json, "hello lo!").front(), kHello);
  EXPECT_EQ(encode(json, "hello lo!")[2], kEnd + 1);
  json["added_tokens"][1]["single_word"] = false;
  EXPECT_EQ(encode(json, "hello").back(), kEnd + 1);
}

TEST_F(JsonTokenizer, OfAddedTokensTheLongestCounts) {
  Json json = small_tokenizer();
  json["added_tokens"].push_back({{"id", kEnd + 1}, {"content", "<a"}});
  json["added_tokens"].push_back({{"id", kEnd + 2}, {"content", "<ab>"}});
  EXPECT_EQ(encode(json, "<ab><a"), (Ids{kEnd + 2, kEnd + 1}));
  // The beginning of a longer one that does not come.
  Ids expected = {kEnd + 1};
  for (const int32_t id : bytes("b!")) expected.push_back(id);
  EXPECT_EQ(encode(json, "<ab!"), expected);
}

TEST_F(JsonTokenizer, NormalizesToNfcButNotWithinRawAddedTokens) {
  Json json = small_tokenizer();
  json["normalizer"] = {{"type", "NFC"}};
  EXPECT_EQ(encode(json, "e\u0301"), encode(json, "\u00e9"));
  json["normalizer"] = {{"type", "Sequence"}, {"normalizers", Json::array()}};
  EXPECT_NE(encode(json, "e\u0301"), encode(json, "\u00e9"));
  json["normalizer"] = {{"type", "Sequence"}, {"normalizers", {{{"type", "NFC"}}}}};
  json["added_tokens"].push_back({{"id", kEnd + 1}, {"content", "e\u0301"}, {"normalized", false}});
  EXPECT_EQ(encode(json, "e\u0301"), (Ids{kEnd + 1}));
  EXPECT_NE(encode(json, "\u00e9"), (Ids{kEnd + 1}));
  json["added_tokens"][1]["normalized"] = true;
  EXPECT_EQ(encode(json, "\u00e9"), (Ids{kEnd + 1}));
}

TEST_F(JsonTokenizer, DecodesToTheBytes) {
  const auto tokenizer = make_tokenizer(write(small_tokenizer()));
  EXPECT_EQ(tokenizer->vocab_size(), kEnd + 1);
  const std::string text = "hello \x01\u00e9\u4f60\U0001f600<|endoftext|> 12\r\n";
  EXPECT_EQ(text_of(*tokenizer, ids_of(*tokenizer, text)), text);
  for (const int32_t wrong : {-1, kEnd + 1})
    EXPECT_NE(error_of([&] { text_of(*tokenizer, {wrong}); }).find(std::to_string(wrong)), std::string::npos);
}

TEST_F(JsonTokenizer, TellsWhatSurroundsATextAndEndsADocument) {
  Json json = small_tokenizer();
  json["post_processor"] = {
      {"type", "TemplateProcessing"},
      {"single", {{{"SpecialToken", {{"id", "<|endoftext|>"}, {"type_id", 0}}}}, {{"Sequence", {{"id", "A"}, {"type_id", 0}}}}}},
      {"special_tokens", {{"<|endoftext|>", {{"id", "<|endoftext|>"}, {"ids", {kEnd}}, {"tokens", {"<|endoftext|>"}}}}}}};
  const std::string path = write(json);
  const auto tokenizer = make_tokenizer(path);
  EXPECT_EQ(tokenizer->surrounding_tokens().before, (Ids{kEnd}));
  EXPECT_TRUE(tokenizer->surrounding_tokens().after.empty());
  EXPECT_EQ(tokenizer->end_of_document(), kEnd);
  EXPECT_FALSE(make_tokenizer(path, "none")->end_of_document());
  EXPECT_EQ(make_tokenizer(path, "hello")->end_of_document(), kHello);
  EXPECT_NE(error_of([&] { make_tokenizer(path, "<eos>"); }).find("--end-of-document <eos>"), std::string::npos);
  put("tokenizer_config.json", R"({"eos_token": {"content": "hell"}})");
  EXPECT_EQ(make_tokenizer(path)->end_of_document(), kHell);
  EXPECT_EQ(make_tokenizer(folder_.string())->end_of_document(), kHell);
  put("tokenizer_config.json", R"({"eos_token": "<eos>"})");
  EXPECT_NE(error_of([&] { make_tokenizer(path); }).find("tokenizer_config.json: eos_token"), std::string::npos);
}

TEST_F(JsonTokenizer, LongTextsAreCutWhereItChangesNothing) {
  const auto tokenizer = make_tokenizer(write(small_tokenizer()));
  std::string text;
  for (int k = 0; text.size() < 1 << 20; ++k) text += k % 7 ? "hello 12 hello\n" : "\n\n  'll \u00e9\r\n\n hello\nhello";
  const std::vector<std::string_view> texts = {text, "", "hello", text};
  const auto ids = encode_batch(*tokenizer, texts, 3);
  ASSERT_EQ(ids.size(), 4u);
  EXPECT_EQ(ids[0], ids_of(*tokenizer, text));
  EXPECT_EQ(ids[1], Ids{});
  EXPECT_EQ(ids[2], Ids{kHello});
  EXPECT_EQ(ids[3], ids[0]);
  EXPECT_GT(tokenizer->safe_cut(text), text.size() - 64);  // so that threads share it
}

TEST_F(JsonTokenizer, CutsChangeNothingWhateverIsThere) {
  const Json split = {{"type", "ByteLevel"}, {"add_prefix_space", false}, {"use_regex", false}};
  const auto with_pattern = [&](const char* pattern) {
    return Json{{"type", "Sequence"},
                {"pretokenizers", {{{"type", "Split"}, {"behavior", "Isolated"}, {"pattern", {{"Regex", pattern}}}}, split}}};
  };
  const Json gpt2 = small_tokenizer()["pre_tokenizer"];
  const Json digits = {{"type", "Sequence"}, {"pretokenizers", {{{"type", "Digits"}, {"individual_digits", true}}, gpt2}}};
  const std::vector<std::string> pieces = {
      "hello", "he", "l", " ", "\n", "\r\n", "  ", ", ", ".", "'s", "'", "-", "_", "12", "\u00e9", "e\u0301", "\u0301", "\u4f60\u597d",
      "\uff0c", "\u3002", "\u1100\u1161", "\u00a0", "[INST]", "[", "INST", "]", "a b", "<b>", "\u180e", "\u05d0", "!", "\t"};
  std::mt19937 random(17);
  for (const Json& pre_tokenizer : {gpt2, digits, with_pattern(kQwenPattern)}) {
    Json json = small_tokenizer();
    json["normalizer"] = {{"type", "NFC"}};
    json["pre_tokenizer"] = pre_tokenizer;
    auto id = kEnd;
    for (const bool normalized : {false, true})
      for (const char* content : {"[INST]", "a b", "l.h", "e\u0301 h", "lo"})
        json["added_tokens"].push_back({{"id", ++id}, {"content", cat(content, normalized ? "!" : "")}, {"normalized", normalized},
                                        {"rstrip", id % 3 == 0}, {"lstrip", id % 4 == 0}, {"single_word", id % 5 == 0}});
    const auto tokenizer = make_tokenizer(write(json));
    int cuts = 0;
    for (int round = 0; round < 3000; ++round) {
      std::string text;
      for (int k = 0; k < 12; ++k) text += pieces[random() % pieces.size()];
      const size_t cut = tokenizer->safe_cut(text);
      ASSERT_LE(cut, text.size());
      if (cut == 0) continue;
      ++cuts;
      Ids both = ids_of(*tokenizer, text.substr(0, cut)), rest = ids_of(*tokenizer, text.substr(cut));
      both.insert(both.end(), rest.begin(), rest.end());
      ASSERT_EQ(both, ids_of(*tokenizer, text)) << text << " cut at byte " << cut;
    }
    EXPECT_GT(cuts, 300);
  }
}

TEST_F(JsonTokenizer, OrdinaryTextsCanBeCut) {
  const auto tokenizer = make_tokenizer(write(small_tokenizer()));
  for (const std::string line : {"This is a line of text, ended as some systems do it.\r\n", "\u4f60\u597d\uff0c\u4e16\u754c\u3002\n", "one\n",
                                 "\u043f\u0440\u0438\u0432\u0435\u0442, \u043c\u0438\u0440!\n"}) {
    std::string text;
    while (text.size() < 1000) text += line;
    EXPECT_GT(tokenizer->safe_cut(text), 900u) << line;
  }
}

TEST_F(JsonTokenizer, TextsThatAreNotUtf8AreRefused) {
  const auto tokenizer = make_tokenizer(write(small_tokenizer()));
  for (const std::string wrong : {"\xff", "\xc0\x80", "\xed\xa0\x80", "\xf4\x90\x80\x80", "\xe4\xbd"})
    EXPECT_NE(error_of([&] { ids_of(*tokenizer, "abc" + wrong); }).find("byte 3 of the text is not UTF-8"),
              std::string::npos);
}

TEST_F(JsonTokenizer, RefusesByNameWhatItDoesNotSupport) {
  const struct {
    const char* place;
    Json value;
    const char* named;
  } cases[] = {
      {"/normalizer", {{"type", "NFKC"}}, "normalizer.type: \"NFKC\" is not supported"},
      {"/normalizer", {{"type", "Sequence"}, {"normalizers", {{{"type", "Lowercase"}}}}}, "normalizer.normalizers[0].type"},
      {"/pre_tokenizer", {{"type", "Metaspace"}}, "pre_tokenizer.type: \"Metaspace\""},
      {"/pre_tokenizer", nullptr, "pre_tokenizer: has no ByteLevel"},
      {"/pre_tokenizer",
       {{"type", "Sequence"},
        {"pretokenizers",
         {{{"type", "Split"}, {"behavior", "Isolated"}, {"pattern", {{"Regex", "\\w+"}}}}, {{"type", "ByteLevel"}}}}},
       "\\w"},
      {"/model/type", "WordPiece", "model.type: \"WordPiece\""},
      {"/model/dropout", 0.1, "model.dropout: 0.1"},
      {"/model/end_of_word_suffix", "</w>", "model.end_of_word_suffix"},
      {"/model/continuing_subword_prefix", "##", "model.continuing_subword_prefix"},
      {"/decoder", {{"type", "WordPiece"}}, "decoder.type: \"WordPiece\""},
      {"/post_processor", {{"type", "RobertaProcessing"}}, "post_processor.type: \"RobertaProcessing\""},
  };
  for (const auto& wrong : cases) {
    Json json = small_tokenizer();
    json[Json::json_pointer(wrong.place)] = wrong.value;
    EXPECT_NE(refusal(json).find(wrong.named), std::string::npos) << wrong.named << " in " << refusal(json);
  }
}

TEST_F(JsonTokenizer, SaysWhatIsWrongWithAFile) {
  const struct {
    const char* place;
    Json value;
    const char* named;
  } cases[] = {
      {"/model", nullptr, "model: is missing"},
      {"/model/vocab", {1, 2}, "model.vocab: is not an object"},
      {"/model/vocab/he", -1, "model.vocab.he: -1 is not a token id"},
      {"/model/vocab/he", "x", "model.vocab: \"he\""},
      {"/model/vocab/he", 1, "id 1 belongs to another token"},
      {"/model/merges/0", "h", "model.merges[0]: \"h\" is not two tokens"},
      {"/model/merges/1", {"l", "q", "r"}, "model.merges[1]"},
      {"/model/merges/0", "h x", "model.merges[0]: \"hx\" is not in the vocabulary"},
      {"/added_tokens/0/id", 5000, "added_tokens[0].id: 5000"},
      {"/added_tokens/0/content", 5, "added_tokens[0].content: 5 is not a text"},
      {"/added_tokens/0/lstrip", "yes", "added_tokens[0].lstrip"},
  };
  for (const auto& wrong : cases) {
    Json json = small_tokenizer();
    json[Json::json_pointer(wrong.place)] = wrong.value;
    EXPECT_NE(refusal(json).find(wrong.named), std::string::npos) << wrong.named << " in " << refusal(json);
  }
  EXPECT_FALSE(refusal(Json::array()).empty());
}

}  // namespace
}  // namespace pscale
