// Damaged inputs end in a result or in an error that says what is wrong: never a crash, a hang, or an exception that is
// our own fault. The sanitizer build runs this, too.
#include <gtest/gtest.h>

#include <sstream>

#include "data/prepare.h"
#include "data/token_file/merge.h"
#include "data/token_file/token_file_writer.h"
#include "launch/data/inspect.h"
#include "tests/data/compressed.h"
#include "tests/data/folder.h"
#include "tests/data/mutations.h"

namespace pscale {
namespace {

class MutatedInputsTest : public FolderTest {
 protected:
  /// A few documents, some of several sequences.
  void write_token_files(int64_t vocabulary) {
    TokenFileWriter writer(path("text"), {"bytes", vocabulary, 256}, 50);
    for (int32_t d = 0; d < 30; ++d) {
      std::vector<int32_t> tokens;
      for (int32_t t = 0; t < d * 7 % 120; ++t) tokens.push_back((d * 31 + t * 17) % 257);
      writer.append(tokens);
      writer.end_document();
    }
    writer.finish();
  }
  /// All that reads token files.
  void read_token_files() {
    const TokenFile file(path("text"));
    std::vector<int32_t> tokens(static_cast<size_t>(file.tokens()));
    file.read(0, tokens);
    file.fingerprint();
    for (int64_t d = 0; d < file.documents(); ++d) EXPECT_LE(file.document_begin(d), file.document_begin(d + 1));
    for (int64_t t = 0; t < file.tokens(); t += 13) file.document_of(t);
    std::ostringstream out;
    inspect_token_files(path("text"), 5, false, out);
    inspect_token_files(path("text"), 5, true, out);
    merge_token_files(path("merged"), {path("text"), path("text")}, [](int64_t, int64_t) {});
  }
};

TEST_F(MutatedInputsTest, Idx) {
  for (const int64_t vocabulary : {257, 70000}) {
    write_token_files(vocabulary);
    const std::string good = get("text.idx");
    const Outcomes seen = check_mutations(good, 100, 1, [&](const std::string& bad) {
      put("text.idx", bad);
      read_token_files();
    });
    EXPECT_GT(seen.refused, 80);
  }
}

TEST_F(MutatedInputsTest, IdxWithoutMeaning) {
  write_token_files(257);
  const std::string good = get("text.idx");
  std::filesystem::remove(meta_path(path("text")));
  check_mutations(good, 50, 2, [&](const std::string& bad) {
    put("text.idx", bad);
    std::ostringstream out;
    inspect_token_files(path("text"), 5, false, out);
  });
}

TEST_F(MutatedInputsTest, Bin) {
  for (const int64_t vocabulary : {257, 70000}) {
    write_token_files(vocabulary);
    const std::string good = get("text.bin");
    const Outcomes seen = check_mutations(good, 50, 3, [&](const std::string& bad) {
      put("text.bin", bad);
      read_token_files();
    });
    EXPECT_GT(seen.refused, 10);
  }
}

TEST_F(MutatedInputsTest, Meta) {
  write_token_files(257);
  check_mutations(get("text.meta.json"), 50, 4, [&](const std::string& bad) {
    put("text.meta.json", bad);
    read_token_files();
  });
}

TEST_F(MutatedInputsTest, Jsonl) {
  std::string lines;
  for (int k = 0; k < 40; ++k)
    lines += cat("{\"id\": ", k * 1e3, ", \"meta\": {\"tags\": [true, null]}, \"text\": \"document \\u00e4\\ud83d\\ude00 ",
                 k * 7919, "\"}\n");
  const auto read = [&](const char* name) {
    return [this, name](const std::string& bad) {
      put(name, bad);
      const auto tokenizer = make_tokenizer("bytes");
      const TextFiles text = find_text_files({path(name)});
      prepare_tokens(text, *tokenizer, {path("lax"), true, "text", true}, [](const PrepareProgress&) {});
      prepare_tokens(text, *tokenizer, {path("strict")}, [](const PrepareProgress&) {});
    };
  };
  EXPECT_GT(check_mutations(lines, 50, 5, read("a.jsonl")).refused, 20);
  EXPECT_GT(check_mutations(zstd(lines), 200, 6, read("a.jsonl.zst")).refused, 150);
  EXPECT_GT(check_mutations(gzip(lines), 50, 7, read("a.jsonl.gz")).refused, 35);
}

}  // namespace
}  // namespace pscale
