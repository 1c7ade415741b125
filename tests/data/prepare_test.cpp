#include "data/prepare.h"


#include "data/token_file/merge.h"
#include "data/token_file/token_file.h"
#include "tests/data/compressed.h"
#include "tests/data/folder.h"

namespace pscale {
namespace {

namespace fs = std::filesystem;

/// Pairs of letters, and what is left: an encoding that depends on where a text is cut and needs UTF-8.
class PairTokenizer : public Tokenizer {
 public:
  explicit PairTokenizer(size_t cut = 0) : cut_(cut) {}
  void encode(std::string_view text, std::vector<int32_t>& out) const override {
    for (size_t i = 0; i < text.size(); i += 2) out.push_back(i + 1 < text.size() ? 1 : 2);
  }
  void decode(std::span<const int32_t> tokens, std::string& out) const override {
    out.append(tokens.size(), '?');
  }
  int64_t vocab_size() const override { return 70000; }
  std::optional<int32_t> end_of_document() const override { return 0; }
  std::string name() const override { return "pairs"; }
  bool needs_utf8() const override { return true; }
  size_t safe_cut(std::string_view text) const override { return cut_ ? text.size() / cut_ * cut_ : 0; }

 private:
  size_t cut_;
};

class PrepareTest : public FolderTest {
 protected:
  PrepareProgress prepare(const TextFiles& text, PrepareOptions options = {}, const std::string& out = "out") {
    options.prefix = path(out);
    return prepare_tokens(text, *make_tokenizer("bytes"), options, [](const PrepareProgress&) {});
  }
  PrepareProgress prepare(const std::vector<std::string>& inputs, PrepareOptions options = {}) {
    return prepare(find_text_files(inputs), std::move(options));
  }
  static std::vector<int32_t> tokens_of(const std::string& prefix) {
    const TokenFile file(prefix);
    std::vector<int32_t> tokens(static_cast<size_t>(file.tokens()));
    file.read(0, tokens);
    return tokens;
  }
  /// The documents of PREFIX as text, without their ends.
  std::vector<std::string> documents(const std::string& name = "out") const {
    const TokenFile file(path(name));
    std::vector<std::string> found;
    for (int64_t d = 0; d < file.documents(); ++d) {
      std::vector<int32_t> tokens(static_cast<size_t>(file.document_begin(d + 1) - file.document_begin(d)));
      file.read(file.document_begin(d), tokens);
      EXPECT_EQ(tokens.back(), 256);
      found.emplace_back(tokens.begin(), tokens.end() - 1);
    }
    return found;
  }
  std::string all_bytes(const std::string& name) const {
    return get(name + ".bin") + get(name + ".idx") + get(name + ".meta.json");
  }
};

TEST_F(PrepareTest, WritesADocumentPerFile) {
  const std::string large((5 << 20) + 5, 'x');
  put("in/a.txt", "ab");
  put("in/b.txt", large);
  const TextFiles text = find_text_files({path("in")}, {});
  int64_t reports = 0, bytes = 0;
  const PrepareProgress done =
      prepare_tokens(text, *make_tokenizer("bytes"), {path("out")}, [&](const PrepareProgress& progress) {
        ++reports;
        EXPECT_GE(progress.bytes, bytes);
        bytes = progress.bytes;
      });
  EXPECT_GE(reports, 2);
  EXPECT_EQ(bytes, text.bytes);
  EXPECT_EQ(done.files, 2);
  EXPECT_EQ(done.documents, 2);
  EXPECT_EQ(done.tokens, TokenFile(path("out")).tokens());
  EXPECT_EQ(documents(), (std::vector<std::string>{"ab", large}));
}

TEST_F(PrepareTest, CutsNoTextThatMustBeWhole) {
  put("a.txt", std::string((5 << 20) + 1, 'x') + std::string(1 << 20, 'y'));
  for (const size_t cut : {0, 10}) {
    prepare_tokens(find_text_files({path("a.txt")}), PairTokenizer(cut), {path("out"), false},
                   [](const PrepareProgress&) {});
    std::vector<int32_t> expected((6 << 19) + 1, 1);
    expected.back() = 2;
    EXPECT_EQ(tokens_of(path("out")), expected);
  }
  const TokenFile file(path("out"));
  EXPECT_EQ(file.meaning()->tokenizer, "pairs");
  EXPECT_FALSE(file.meaning()->end_of_document);
}

TEST_F(PrepareTest, LinesAreDocuments) {
  put("a.jsonl",
      "{\"text\": \"one\", \"n\": [1, {\"text\": \"inner\"}]}\r\n"
      "\n  \t\n"
      "{\"meta\": {\"text\": \"not this\"}, \"text\": \"t\\u00e4\\ud83d\\ude00\\n\"}\n"
      "{\"text\": \"\"}\n"
      "{\"text\": \"first\", \"text\": \"last\"}");
  const PrepareProgress done = prepare({path("a.jsonl")});
  EXPECT_EQ(documents(), (std::vector<std::string>{"one", "t\u00e4\U0001F600\n", "last"}));
  EXPECT_EQ(done.empty, 1);
}

TEST_F(PrepareTest, FieldsMayBeWithinOthers) {
  put("a.jsonl", "{\"text\": 1, \"a\": {\"b\": {\"c\": \"x\"}, \"c\": 2}, \"c\": 3}\n"
                 "{\"a\": {\"b\": {\"d\": {\"c\": \"no\"}, \"c\": \"y\"}}}\n");
  prepare({path("a.jsonl")}, {"", true, "a.b.c"});
  EXPECT_EQ(documents(), (std::vector<std::string>{"x", "y"}));
  for (const char* field : {"", "a.", ".a", "a..b"})
    EXPECT_NE(error_of([&] { prepare({path("a.jsonl")}, {"", true, field}); }).find("--field"), std::string::npos);
}

TEST_F(PrepareTest, BadLinesAreNamedOrCounted) {
  const std::vector<std::pair<std::string, std::string>> bad = {
      {"{\"text\": \"a", "not JSON"},
      {"{\"text\": \"ok\"} {}", "not JSON"},
      {"{\"text\": \"\\ud800\"}", "not JSON"},
      {"{\"text\": \"\\ud800\\u0041\"}", "not JSON"},
      {"{\"text\": \"\xff\"}", "not JSON"},
      {"{\"text\": \"\xed\xa0\x80\"}", "not JSON"},
      {"{\"text\": \"\1\"}", "not JSON"},
      {"{\"text\": NaN}", "not JSON"},
      {std::string("{\"text\": \"a\"}\0", 14), "not JSON"},
      {"{\"text\": null}", "field \"text\" is not a string: null"},
      {"{\"text\": 1.5}", "field \"text\" is not a string: a number"},
      {"{\"text\": [\"a\"]}", "field \"text\" is not a string: a list"},
      {"{\"text\": {\"text\": \"a\"}}", "field \"text\" is not a string: an object"},
      {"{\"text\": \"a\", \"text\": 1}", "field \"text\" is not a string"},
      {"{\"Text\": \"a\"}", "has no field \"text\""},
      {"[{\"text\": \"a\"}]", "not a JSON object but a list"},
      {"\"text\"", "not a JSON object but a string"},
      {std::string(100000, '['), "not JSON"},
  };
  std::string all;
  for (const auto& [line, problem] : bad) {
    put("one.jsonl", "{\"text\": \"good\"}\n\n" + line + "\n{\"text\": \"good\"}\n");
    const std::string error = error_of([&] { prepare({path("one.jsonl")}); });
    EXPECT_TRUE(error.starts_with(path("one.jsonl") + ": line 3: " + problem)) << error;
    EXPECT_NE(error.find("--skip-bad"), std::string::npos);
    EXPECT_LT(error.size(), 400u);
    EXPECT_EQ(error.find('\n'), std::string::npos) << error;
    EXPECT_FALSE(fs::exists(path("out.bin")));
    all += line + "\n{\"text\": \"good\"}\n";
  }
  put("all.jsonl", all);
  const PrepareProgress done = prepare({path("all.jsonl")}, {"", true, "text", true});
  EXPECT_EQ(done.bad, static_cast<int64_t>(bad.size()));
  EXPECT_EQ(done.documents, done.bad);
  ASSERT_EQ(done.problems.size(), 5u);
  EXPECT_TRUE(done.problems[1].starts_with(path("all.jsonl") + ": line 3: not JSON")) << done.problems[1];
}

TEST_F(PrepareTest, TextThatIsNoUtf8IsNamedOrLeftOut) {
  const std::string start = std::string(9 << 20, 'x') + "\n";  // several batches come before the bad byte
  put("in/a.txt", "fine");
  put("in/b.txt", start + "\n..\xc3(");
  put("in/c.txt", "\xe2\x82\xac");
  const auto take = [&](bool skip) {
    PrepareOptions options{path("out"), false, "text", skip};
    return prepare_tokens(find_text_files({path("in")}), PairTokenizer(2), options, [](const PrepareProgress&) {});
  };
  EXPECT_EQ(error_of([&] { take(false); }),
            path("in/b.txt") + ": line 3: not UTF-8: byte 0xc3; --skip-bad leaves such documents out");
  EXPECT_FALSE(fs::exists(path("out.bin.partial")));
  const PrepareProgress done = take(true);
  EXPECT_EQ(done.bad, 1);
  EXPECT_EQ(tokens_of(path("out")), (std::vector<int32_t>{1, 1, 1, 2}));
  EXPECT_EQ(TokenFile(path("out")).documents(), 2);
  // Bytes may be anything.
  EXPECT_EQ(prepare({path("in")}).bad, 0);
}

TEST_F(PrepareTest, CompressedFilesAreReadAsWhatTheyHold) {
  std::string lines;
  for (int k = 0; k < 20000; ++k) lines += cat("{\"text\": \"document ", k, " ", k * 7919, "\"}\n");
  put("a.jsonl", lines);
  prepare({path("a.jsonl")});
  const std::string expected = all_bytes("out");
  const std::string head = lines.substr(0, 100001), tail = lines.substr(100001);
  put("b.jsonl.gz", gzip(lines));
  put("c.jsonl.zst", zstd(lines));
  put("d.jsonl.gz", gzip(head) + gzip("") + gzip(tail) + std::string(512, '\0'));
  put("e.jsonl.zst", zstd(head) + zstd("") + zstd(tail));
  for (const char* name : {"b.jsonl.gz", "c.jsonl.zst", "d.jsonl.gz", "e.jsonl.zst"}) {
    const PrepareProgress done = prepare({path(name)});
    EXPECT_EQ(all_bytes("out"), expected) << name;
    EXPECT_EQ(done.bytes, static_cast<int64_t>(fs::file_size(path(name)))) << name;
  }
  put("f.txt.gz", gzip("plain"));
  put("g.txt.zst", zstd(""));
  const PrepareProgress done = prepare({path("f.txt.gz"), path("g.txt.zst")});
  EXPECT_EQ(documents(), std::vector<std::string>{"plain"});
  EXPECT_EQ(done.empty, 1);
}

TEST_F(PrepareTest, DamagedCompressedFilesAreNamedWithTheLineReached) {
  std::string lines;
  for (int k = 0; k < 200000; ++k) lines += cat("{\"text\": \"document ", k, " ", k * 7919, "\"}\n");
  const std::vector<std::pair<const char*, std::string>> good = {{"a.jsonl.gz", gzip(lines)},
                                                                 {"a.jsonl.zst", zstd(lines)}};
  for (const auto& [name, bytes] : good) {
    put(name, bytes.substr(0, bytes.size() / 2));
    std::string error = error_of([&] { prepare({path(name)}); });
    EXPECT_NE(error.find("cut off"), std::string::npos) << error;
    ASSERT_TRUE(error.starts_with(path(name) + ": line ")) << error;
    EXPECT_GT(std::stoi(error.substr(path(name).size() + 7)), 50000);
    std::string damaged = bytes;
    for (size_t k = damaged.size() / 2; k < damaged.size() / 2 + 100; ++k) damaged[k] = static_cast<char>(~damaged[k]);
    put(name, damaged);
    error = error_of([&] { prepare({path(name)}); });
    // What comes out of damaged data may be no JSON before the damage is noticed.
    EXPECT_TRUE(error.find("damaged") != std::string::npos || error.find("not JSON") != std::string::npos) << error;
    put(name, "no compressed data");
    error = error_of([&] { prepare({path(name)}); });
    EXPECT_TRUE(error.starts_with(path(name) + ": line 1: the ") && error.find("damaged") != std::string::npos) << error;
    put(name, bytes + "more");
    EXPECT_NE(error_of([&] { prepare({path(name)}); }).find("the "), std::string::npos);
  }
}

TEST_F(PrepareTest, PartsThatAreMissingOrComeTwiceAreRefused) {
  put("in/a.jsonl", "{\"text\": \"a\"}\n{\"text\": \"b\"}\n{\"text\": \"c\"}\n");
  const TextFiles all = find_text_files({path("in")});
  for (int64_t part = 1; part <= 3; ++part) {
    PrepareOptions options;
    options.part = cat(part, "/3");
    prepare(part_of(all, part, 3), options, cat("p", part));
  }
  prepare(all, {}, "whole");
  const auto merge = [&](const std::vector<std::string>& names) {
    std::vector<std::string> paths;
    for (const std::string& name : names) paths.push_back(path(name));
    merge_token_files(path("merged"), paths, [](int64_t, int64_t) {});
  };
  merge({"whole", "p1", "p2", "p3", "whole", "p1", "p2", "p3"});
  EXPECT_TRUE(TokenFile(path("merged")).meaning()->part.empty());
  const std::pair<std::vector<std::string>, const char*> wrong[] = {
      {{"p1", "p3"}, "p3: is part 3/3, but here part 2/3 is due"},
      {{"p1", "p1", "p2", "p3"}, "p1: is part 1/3, but here part 2/3 is due"},
      {{"p2", "p3"}, "p2: is part 2/3, but here a first part is due"},
      {{"whole", "p1", "p2"}, "p2: part 3/3 must follow it"},
      {{"p1", "whole"}, "whole: is no part, but here part 2/3 is due"}};
  for (const auto& [names, said] : wrong) {
    const std::string error = error_of([&] { merge(names); });
    EXPECT_NE(error.find(said), std::string::npos) << error;
  }
}

TEST_F(PrepareTest, NothingIsWrittenWithoutADocument) {
  prepare({put("good.txt", "text")});
  const auto before = all_bytes("out");
  PrepareOptions skipping;
  skipping.skip_bad = true;
  const std::string error = error_of([&] { prepare({put("bad.jsonl", "{}\n[]\n{\"text\": \"\"}\n")}, skipping); });
  EXPECT_NE(error.find("no documents"), std::string::npos);
  EXPECT_NE(error.find("1 empty and 2 bad"), std::string::npos);
  EXPECT_EQ(all_bytes("out"), before);
}

TEST_F(PrepareTest, PartsJoinedAreTheWhole) {
  std::string lines;
  for (int k = 0; k < 300; ++k)
    lines += k % 7 == 0 ? "\n" : cat("{\"text\": \"", std::string(static_cast<size_t>(k * 37 % 101), 'x'), k, "\"}\n");
  put("in/a.jsonl", lines);
  put("in/b.txt", "b");
  put("in/c.jsonl.zst", zstd(lines));
  put("in/d.jsonl", lines.substr(0, lines.size() - 1));
  put("in/e.txt", std::string(5000, 'e'));
  const TextFiles all = find_text_files({path("in")});
  prepare(all);
  for (const int64_t parts : {1, 2, 3, 5, 40}) {
    std::vector<std::string> names;
    for (int64_t part = 1; part <= parts; ++part) {
      names.push_back(path(cat("part", part)));
      PrepareOptions options;
      options.part = cat(part, "/", parts);
      prepare(part_of(all, part, parts), options, cat("part", part));
    }
    int64_t reported = 0;
    const MergedFiles done =
        merge_token_files(path("merged"), names, [&](int64_t bytes, int64_t) { reported = bytes; });
    EXPECT_EQ(all_bytes("merged"), all_bytes("out")) << parts;
    EXPECT_EQ(done.tokens, TokenFile(path("out")).tokens());
    EXPECT_EQ(reported, 2 * done.tokens);
  }
  // Every byte may be the boundary of a part.
  put("few.jsonl", "{\"text\": \"a\"}\n{\"text\": \"bc\"}\n\n{\"text\": \"d\"}");
  const TextFiles few = find_text_files({path("few.jsonl")});
  std::vector<std::string> found;
  for (int64_t part = 1; part <= few.bytes; ++part) {
    PrepareOptions options;
    options.part = cat(part, "/", few.bytes);
    prepare(part_of(few, part, few.bytes), options, "byte");
    for (const std::string& document : documents("byte")) found.push_back(document);
  }
  EXPECT_EQ(found, (std::vector<std::string>{"a", "bc", "d"}));
}

TEST_F(PrepareTest, AnErrorInAPartNamesTheLineOfTheFile) {
  std::string lines;
  for (int k = 0; k < 100; ++k) lines += k == 90 ? "broken\n" : cat("{\"text\": \"", k, "\"}\n");
  put("a.jsonl", lines);
  const TextFiles all = find_text_files({path("a.jsonl")});
  for (const int64_t parts : {2, 3, 10})
    for (int64_t part = 1; part <= parts; ++part) try {
        prepare(part_of(all, part, parts));
      } catch (const UserError& error) {
        EXPECT_NE(std::string(error.what()).find("a.jsonl: line 91: not JSON"), std::string::npos) << error.what();
      }
}

TEST_F(PrepareTest, MergeNamesThePartsThatDiffer) {
  put("a.txt", "a");
  prepare({path("a.txt")});
  prepare(find_text_files({path("a.txt")}), {}, "same");
  prepare(find_text_files({path("a.txt")}), {"", false}, "without");
  prepare_tokens(find_text_files({path("a.txt")}), PairTokenizer(), {path("pairs")}, [](const PrepareProgress&) {});
  const std::vector<std::string> parts = {path("out"), path("same"), path("without"), path("pairs")};
  try {
    merge_token_files(path("merged"), parts, [](int64_t, int64_t) {});
    FAIL();
  } catch (const UserError& error) {
    ASSERT_EQ(error.problems().size(), 2u);
    EXPECT_TRUE(error.problems()[0].starts_with(path("without") + ": has tokenizer bytes")) << error.what();
    EXPECT_NE(error.problems()[0].find("no end of document"), std::string::npos);
    EXPECT_TRUE(error.problems()[1].starts_with(path("pairs") + ": has tokenizer pairs")) << error.what();
  }
  EXPECT_FALSE(fs::exists(path("merged.bin.partial")));
  fs::remove(meta_path(path("same")));
  EXPECT_NE(error_of([&] {
              merge_token_files(path("merged"), {parts[0], parts[1]}, [](int64_t, int64_t) {});
            }).find("same.meta.json: no such file"),
            std::string::npos);
  // A part may be joined with itself, in its own place.
  merge_token_files(path("out"), {path("out"), path("out")}, [](int64_t, int64_t) {});
  EXPECT_EQ(documents(), (std::vector<std::string>{"a", "a"}));
}

}  // namespace
}  // namespace pscale
