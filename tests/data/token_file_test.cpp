#include "data/token_file/token_file.h"

#include <cstring>
#include <nlohmann/json.hpp>

#include "data/token_file/token_file_writer.h"
#include "tests/data/folder.h"

namespace pscale {
namespace {

namespace fs = std::filesystem;

class TokenFileTest : public FolderTest {
 protected:
  using Documents = std::vector<std::vector<int32_t>>;

  std::string write(const Documents& documents, const TokenMeaning& meaning,
                    int32_t longest = std::numeric_limits<int32_t>::max()) {
    TokenFileWriter writer(path("sub/text"), meaning, longest);
    for (const auto& document : documents) {
      // In two pieces, as a long file comes.
      const std::span<const int32_t> all(document);
      writer.append(all.first(all.size() / 3));
      writer.append(all.subspan(all.size() / 3));
      writer.end_document();
    }
    writer.finish();
    return path("sub/text");
  }
  static std::vector<int32_t> all_tokens(const TokenFile& file) {
    std::vector<int32_t> tokens(static_cast<size_t>(file.tokens()));
    file.read(0, tokens);
    return tokens;
  }
  /// The error after `change` was made to the bytes of a good index of 3 documents, 10 tokens of uint16.
  std::string error_after(const std::function<void(std::string&)>& change) {
    const std::string prefix = write({{1, 2, 3}, {4, 5}, {6, 7, 8, 9, 10}}, {"bytes", 257, {}});
    fs::remove(meta_path(prefix));
    EXPECT_EQ(TokenFile(prefix).tokens(), 10);
    std::string index = get("sub/text.idx");
    change(index);
    put("sub/text.idx", index);
    return error_of([&] { TokenFile file(prefix); });
  }
  template <class T>
  static void poke(std::string& bytes, size_t at, T value) {
    ASSERT_LE(at + sizeof value, bytes.size());
    std::memcpy(bytes.data() + at, &value, sizeof value);
  }
};

TEST_F(TokenFileTest, RoundTripUint16) {
  const TokenFile file(write({{1, 2, 3}, {}, {255, 0}}, {"bytes", 257, 256}));
  EXPECT_EQ(file.type(), TokenType::uint16);
  EXPECT_EQ(all_tokens(file), (std::vector<int32_t>{1, 2, 3, 256, 256, 255, 0, 256}));
  EXPECT_EQ(file.documents(), 3);
  EXPECT_EQ(file.sequences(), 3);
  const int64_t begins[] = {0, 4, 5, 8};
  for (int64_t d = 0; d <= 3; ++d) EXPECT_EQ(file.document_begin(d), begins[d]);
  const int64_t holder[] = {0, 0, 0, 0, 1, 2, 2, 2};
  for (int64_t t = 0; t < 8; ++t) EXPECT_EQ(file.document_of(t), holder[t]);
  ASSERT_TRUE(file.meaning());
  EXPECT_EQ(file.meaning()->tokenizer, "bytes");
  EXPECT_EQ(file.meaning()->end_of_document, 256);
  EXPECT_EQ(file.vocabulary(), 257);
  std::vector<int32_t> part(3);
  file.read(4, part);
  EXPECT_EQ(part, (std::vector<int32_t>{256, 255, 0}));
}

TEST_F(TokenFileTest, RoundTripInt32) {
  const TokenFile file(write({{65536, 151935, 0}}, {"x", 151936, {}}));
  EXPECT_EQ(file.type(), TokenType::int32);
  EXPECT_EQ(all_tokens(file), (std::vector<int32_t>{65536, 151935, 0}));
  EXPECT_FALSE(file.meaning()->end_of_document);
}

TEST_F(TokenFileTest, TypeIsThatOfMegatron) {
  EXPECT_EQ(token_type_for(65499), TokenType::uint16);
  EXPECT_EQ(token_type_for(65500), TokenType::int32);
}

TEST_F(TokenFileTest, BytesOfTheIndex) {
  write({{1, 2, 3}, {4}}, {"bytes", 257, {}});
  const std::string expected(
      "MMIDIDX\0\0"
      "\1\0\0\0\0\0\0\0"
      "\x8"
      "\2\0\0\0\0\0\0\0"
      "\3\0\0\0\0\0\0\0"
      "\3\0\0\0"
      "\1\0\0\0"
      "\0\0\0\0\0\0\0\0"
      "\6\0\0\0\0\0\0\0"
      "\0\0\0\0\0\0\0\0"
      "\1\0\0\0\0\0\0\0"
      "\2\0\0\0\0\0\0\0",
      34 + 8 + 16 + 24);
  EXPECT_EQ(get("sub/text.idx"), expected);
  EXPECT_EQ(get("sub/text.bin"), std::string("\1\0\2\0\3\0\4\0", 8));
}

TEST_F(TokenFileTest, LongDocumentsBecomeSeveralSequences) {
  const TokenFile file(write({{1, 2, 3, 4, 5, 6, 7}, {8, 9}, {10, 11, 12, 13}}, {"bytes", 257, {}}, 3));
  EXPECT_EQ(file.documents(), 3);
  EXPECT_EQ(file.sequences(), 3 + 1 + 2);
  EXPECT_EQ(file.document_begin(1), 7);
  EXPECT_EQ(file.document_begin(2), 9);
  EXPECT_EQ(file.document_of(6), 0);
  EXPECT_EQ(file.document_of(7), 1);
  EXPECT_EQ(file.document_of(12), 2);
}

TEST_F(TokenFileTest, EmptyDocumentsHoldNoToken) {
  const TokenFile file(write({{}, {}, {1, 2}, {}, {3}, {}}, {"bytes", 257, {}}));
  EXPECT_EQ(file.documents(), 6);
  EXPECT_EQ(file.document_of(0), 2);
  EXPECT_EQ(file.document_of(1), 2);
  EXPECT_EQ(file.document_of(2), 4);
}

TEST_F(TokenFileTest, NoDocumentsAtAll) {
  const TokenFile file(write({}, {"bytes", 257, {}}));
  EXPECT_EQ(file.documents(), 0);
  EXPECT_EQ(file.tokens(), 0);
}

TEST_F(TokenFileTest, WithoutMeaningTheVocabularyIsCounted) {
  const std::string prefix = write({{1, 2, 299}, {4}}, {"x", 1000, {}});
  fs::remove(meta_path(prefix));
  const TokenFile file(prefix);
  EXPECT_FALSE(file.meaning());
  EXPECT_EQ(file.vocabulary(), 300);
}

TEST_F(TokenFileTest, NothingIsLeftOfAnUnfinishedWrite) {
  {
    TokenFileWriter writer(path("new/text"), {"bytes", 257, {}});
    writer.append(std::vector<int32_t>{1});
    EXPECT_TRUE(fs::exists(path("new/text.bin.partial")));
    EXPECT_FALSE(fs::exists(path("new/text.bin")));
    // Nor may another program write the same files meanwhile.
    EXPECT_NE(error_of([&] {
                TokenFileWriter second(path("new/text"), {"bytes", 257, {}});
              }).find("another program"),
              std::string::npos);
  }
  EXPECT_TRUE(fs::is_empty(path("new")));
}

TEST_F(TokenFileTest, ReplacesAnOlderPairAndALeftOver) {
  put("sub/text.bin.partial", "left by a crash, longer than what comes");
  write({{1, 2, 3, 4, 5}}, {"bytes", 257, {}});
  const TokenFile file(write({{9}}, {"bytes", 257, {}}));
  EXPECT_EQ(all_tokens(file), std::vector<int32_t>{9});
  EXPECT_EQ(std::distance(fs::directory_iterator(path("sub")), {}), 3);
}

TEST_F(TokenFileTest, TokensOutsideTheVocabularyAreAnInvariant) {
  TokenFileWriter writer(path("text"), {"bytes", 257, {}});
  EXPECT_THROW(writer.append(std::vector<int32_t>{257}), InvariantError);
  EXPECT_THROW(writer.append(std::vector<int32_t>{-1}), InvariantError);
}

TEST_F(TokenFileTest, MissingFilesAreNamed) {
  EXPECT_NE(error_of([&] { TokenFile file(path("none")); }).find("pscale_data prepare"), std::string::npos);
  const std::string prefix = write({{1}}, {"bytes", 257, {}});
  EXPECT_NE(error_of([&] { TokenFile file(prefix + ".bin"); }).find("without .bin and .idx: " + prefix),
            std::string::npos);
  fs::remove(bin_path(prefix));
  EXPECT_EQ(error_of([&] { TokenFile file(prefix); }), prefix + ".bin: no such file");
}

TEST_F(TokenFileTest, EveryDamageOfTheIndexIsFound) {
  // Header 34 bytes, lengths at 34, pointers at 46, document index at 70, end at 102.
  using Bytes = std::string&;
  const std::vector<std::pair<std::function<void(Bytes)>, std::string>> damages = {
      {[](Bytes b) { b.clear(); }, "too short"},
      {[](Bytes b) { b.resize(33); }, "too short"},
      {[](Bytes b) { b[0] = 'm'; }, "MMIDIDX"},
      {[](Bytes b) { poke<uint64_t>(b, 9, 2); }, "version 2"},
      {[](Bytes b) { b[17] = 5; }, "token type 5"},
      {[](Bytes b) { b[17] = 4; }, "sequence 1 starts at byte 6"},
      {[](Bytes b) { poke<uint64_t>(b, 18, uint64_t{1} << 63); }, "cut off"},
      {[](Bytes b) { poke<uint64_t>(b, 26, ~uint64_t{0}); }, "cut off"},
      {[](Bytes b) { poke<uint64_t>(b, 26, 0); }, "document index is empty"},
      {[](Bytes b) { b.resize(b.size() - 1); }, "cut off"},
      {[](Bytes b) { b += "x"; }, "1 bytes too long"},
      {[](Bytes b) { b += std::string(3, '\0'); }, "modes of sequences"},
      {[](Bytes b) { poke<int32_t>(b, 34, -3); }, "sequence 0 has -3 tokens"},
      {[](Bytes b) { poke<int32_t>(b, 38, 3); }, "sequence 2 starts at byte 10"},
      {[](Bytes b) { poke<int32_t>(b, 42, 6); }, "text.bin: has 20 bytes"},
      {[](Bytes b) { poke<int64_t>(b, 54, 8); }, "sequence 1 starts at byte 8"},
      {[](Bytes b) { poke<int64_t>(b, 70, 1); }, "document 0 starts at sequence 1"},
      {[](Bytes b) { poke<int64_t>(b, 78, 3), poke<int64_t>(b, 86, 2); }, "document 1"},
      {[](Bytes b) { poke<int64_t>(b, 86, -1); }, "document 1"},
      {[](Bytes b) { poke<int64_t>(b, 94, 4); }, "document 2"},
      {[](Bytes b) { poke<int64_t>(b, 94, 2); }, "hold 2 of 3 sequences"},
  };
  for (const auto& [change, expected] : damages) {
    const std::string error = error_after(change);
    EXPECT_NE(error.find(expected), std::string::npos) << expected << "\nis not in\n" << error;
    EXPECT_NE(error.find("sub/text."), std::string::npos) << error;
  }
}

TEST_F(TokenFileTest, NoByteOfTheIndexCanChangeUnseen) {
  // Three tokens and two: the only other index of one bit's difference says that document 0 is empty and 1
  // has all five.
  constexpr size_t kFirstOfDocument1 = 34 + 2 * 4 + 2 * 8 + 8;
  const std::string prefix = write({{1, 2, 3}, {4, 5}}, {"bytes", 257, {}});
  const std::string good = get("sub/text.idx");
  for (size_t at = 0; at < good.size(); ++at) {
    for (const int flip : {0x01, 0x02, 0x80, 0xff}) {
      if (at == kFirstOfDocument1 && flip == 0x01) continue;
      std::string bad = good;
      bad[at] = static_cast<char>(bad[at] ^ flip);
      put("sub/text.idx", bad);
      EXPECT_THROW(TokenFile file(prefix), UserError) << "byte " << at << " ^ " << flip;
    }
  }
}

TEST_F(TokenFileTest, TokensOfAnotherSizeAreFound) {
  const std::string prefix = write({{1, 2, 3}}, {"bytes", 257, {}});
  for (const char* bytes : {"", "12345", "12345678"}) {
    put("sub/text.bin", bytes);
    EXPECT_NE(error_of([&] { TokenFile file(prefix); }).find("text.bin: has "), std::string::npos);
  }
}

TEST_F(TokenFileTest, MeaningOfOtherFilesIsFound) {
  const std::string prefix = write({{1, 2, 3}}, {"bytes", 257, {}});
  const std::string good = get("sub/text.meta.json");
  nlohmann::json json = nlohmann::json::parse(good);
  json["tokens"] = 4;
  put("sub/text.meta.json", json.dump());
  EXPECT_NE(error_of([&] { TokenFile file(prefix); }).find("not of the same preparation"), std::string::npos);
  put("sub/text.meta.json", good.substr(0, 20));
  EXPECT_NE(error_of([&] { TokenFile file(prefix); }).find("text.meta.json: "), std::string::npos);
  json = nlohmann::json::parse(good);
  json.erase("vocab_size");
  put("sub/text.meta.json", json.dump());
  EXPECT_NE(error_of([&] { TokenFile file(prefix); }).find("vocab_size"), std::string::npos);
  json["vocab_size"] = 0;
  put("sub/text.meta.json", json.dump());
  EXPECT_NE(error_of([&] { TokenFile file(prefix); }).find("at least 1"), std::string::npos);
}

TEST_F(TokenFileTest, ADroppedDocumentLeavesNoTrace) {
  const auto bytes_of = [&](const std::string& prefix) { return get(prefix + ".bin") + get(prefix + ".idx"); };
  const std::vector<int32_t> small = {1, 2, 3}, large(1 << 20, 7);
  for (const bool drops : {false, true}) {
    TokenFileWriter writer(path(drops ? "with" : "without"), {"bytes", 257, 256}, 1000);
    if (drops) writer.append(large), writer.drop_document();
    writer.append(small);
    writer.end_document();
    if (drops) writer.append(small), writer.drop_document(), writer.drop_document();
    writer.append(large);
    writer.end_document();
    if (drops) writer.append(large), writer.append(large), writer.drop_document();
    EXPECT_EQ(writer.tokens(), 4 + (1 << 20) + 1);
    writer.finish();
  }
  EXPECT_EQ(bytes_of("with"), bytes_of("without"));
  EXPECT_EQ(TokenFile(path("with")).documents(), 2);
}

TEST_F(TokenFileTest, BetweenTheOldAndTheNewNothingIsFound) {
  const std::string prefix = write({{1}}, {"bytes", 257, {}});
  TokenFileWriter writer(prefix, {"bytes", 257, {}});
  writer.append(std::vector<int32_t>{2});
  writer.end_document();
  EXPECT_EQ(all_tokens(TokenFile(prefix)), std::vector<int32_t>{1});
  writer.finish([&] { EXPECT_NE(error_of([&] { TokenFile file(prefix); }).find("killed"), std::string::npos); });
  EXPECT_EQ(all_tokens(TokenFile(prefix)), std::vector<int32_t>{2});
}

}  // namespace
}  // namespace pscale
