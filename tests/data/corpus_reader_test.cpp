#include "data/text/corpus_reader.h"

#include "tests/data/compressed.h"
#include "tests/data/folder.h"

namespace pscale {
namespace {

class CorpusReaderTest : public FolderTest {
 protected:
  static std::vector<CorpusPiece> read(const TextFiles& files, CorpusReading reading) {
    std::vector<CorpusPiece> pieces;
    CorpusReader reader(files, std::move(reading));
    for (CorpusBatch batch; reader.next(batch);)
      for (CorpusPiece& piece : batch.pieces) pieces.push_back(std::move(piece));
    return pieces;
  }
};

/// Behind the last blank.
size_t after_blank(std::string_view text) { return text.rfind(' ') + 1; }

TEST_F(CorpusReaderTest, TextComesInPiecesCutWhereItMayBe) {
  std::string text;
  for (int k = 0; k < 400000; ++k) text += cat(k, k % 10 ? " " : "\n ");
  put("a.txt", text);
  const TextFiles files = find_text_files({path("a.txt")});
  const auto pieces = read(files, {1 << 20, 1 << 30, after_blank});
  ASSERT_GE(pieces.size(), 2u);
  std::string all;
  for (size_t k = 0; k < pieces.size(); ++k) {
    EXPECT_EQ(pieces[k].begins, k == 0);
    EXPECT_EQ(pieces[k].ends, k + 1 == pieces.size());
    EXPECT_EQ(pieces[k].line, 1 + std::count(all.begin(), all.end(), '\n'));
    EXPECT_TRUE(all.empty() || all.ends_with(' '));
    all += pieces[k].text;
  }
  EXPECT_EQ(all, text);
}

TEST_F(CorpusReaderTest, WhatIsTooLongIsAProblemOfItsDocumentAlone) {
  const std::string large(5 << 20, 'x');
  put("a.txt", "before " + large);
  put("b.jsonl", "one\n" + large + "\ntwo\n" + large);
  put("c.txt", "after");
  const TextFiles files = find_text_files({path("a.txt"), path("b.jsonl"), path("c.txt")});
  const auto pieces = read(files, {1 << 20, 3 << 20, [](std::string_view text) {
                                     return text.starts_with("before ") ? size_t{7} : size_t{0};
                                   }});
  std::vector<std::string> seen;
  for (const CorpusPiece& piece : pieces)
    seen.push_back(cat(piece.line, piece.begins ? "(" : "[", piece.problem.empty() ? piece.text : piece.problem,
                       piece.ends ? ")" : "]"));
  EXPECT_EQ(seen, (std::vector<std::string>{"1(before ]", "1[a document that the tokenizer cannot cut, of more than 3 MiB; give it as several)",
                                            "1(one)", "2(longer than 3 MiB)", "3(two)", "4(longer than 3 MiB)",
                                            "1(after)"}));
}

TEST_F(CorpusReaderTest, WhatWasReadBeforeDamageComesBeforeTheError) {
  std::string lines;
  for (int k = 0; k < 100000; ++k) lines += cat("line ", k * 7919, "\n");
  const std::string bytes = gzip(lines);
  put("a.jsonl.gz", bytes.substr(0, bytes.size() - 1000));
  const TextFiles files = find_text_files({path("a.jsonl.gz")});
  CorpusReader reader(files, {1 << 16, 1 << 20, {}});
  int64_t last = 0;
  const std::string error = error_of([&] {
    for (CorpusBatch batch; reader.next(batch);)
      if (!batch.pieces.empty()) last = batch.pieces.back().line;
  });
  EXPECT_GT(last, 50000);
  EXPECT_EQ(error, cat(path("a.jsonl.gz"), ": line ", last + 1, ": the gzip data end too early: the file is cut off"));
}

TEST_F(CorpusReaderTest, NobodyNeedsToReadAll) {
  put("a.jsonl", std::string(20 << 20, '\n') + "x");
  put("b.txt", std::string(20 << 20, 'x'));
  const TextFiles files = find_text_files({path("b.txt"), path("a.jsonl")});
  CorpusReader reader(files, {1 << 16, 1 << 30, [](std::string_view text) { return text.size(); }});
  CorpusBatch batch;
  EXPECT_TRUE(reader.next(batch));
}

}  // namespace
}  // namespace pscale
