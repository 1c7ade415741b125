#include "data/text/text_files.h"

#include "tests/data/folder.h"

namespace pscale {
namespace {

namespace fs = std::filesystem;

class TextFilesTest : public FolderTest {
 protected:
  /// Paths below the folder.
  std::vector<std::string> names(const TextFiles& found) const {
    std::vector<std::string> all;
    for (const TextFile& file : found.files)
      all.push_back(fs::path(file.path).lexically_relative(folder_).string());
    return all;
  }
};

TEST_F(TextFilesTest, FolderIsWalkedInOrderOfPaths) {
  for (const char* name : {"in/b.py", "in/a/z.py", "in/a.py", "in/B.py", "in/a/deep/er/x.py"})
    put(name, name);
  const TextFiles found = find_text_files({path("in")}, {});
  // '.' < '/', upper case before lower case
  EXPECT_EQ(names(found),
            (std::vector<std::string>{"in/B.py", "in/a.py", "in/a/deep/er/x.py", "in/a/z.py", "in/b.py"}));
  EXPECT_EQ(found.bytes, 7 + 7 + 17 + 9 + 7);
  EXPECT_EQ(found.files[2].bytes, 17);
}

TEST_F(TextFilesTest, HiddenBinaryEmptyAndOtherSuffixesAreLeftOut) {
  put("in/a.py", "a");
  put("in/b.txt", "b");
  put("in/c.py.orig", "c");
  put("in/.git/d.py", "d");
  put("in/.e.py", "e");
  put("in/f.py", std::string("f\0f", 3));
  put("in/g.py", "");
  const TextFiles found = find_text_files({path("in")}, {{".py", ".txt"}});
  EXPECT_EQ(names(found), (std::vector<std::string>{"in/a.py", "in/b.txt"}));
  EXPECT_EQ(found.binary, 1);
  EXPECT_EQ(found.empty, 1);
}

TEST_F(TextFilesTest, WhatLinksLeaveOutIsCounted) {
  put("real/a.txt", "a");
  put("in/b.txt", "b");
  fs::create_directory_symlink(path("real"), path("in/more"));
  fs::create_symlink(path("real/a.txt"), path("in/a.txt"));
  const TextFiles found = find_text_files({path("in"), path("real/a.txt")});
  EXPECT_EQ(names(found), (std::vector<std::string>{"in/a.txt", "in/b.txt"}));
  EXPECT_EQ(found.links, 1);
  EXPECT_EQ(found.again, 1);
}

TEST_F(TextFilesTest, WhatIsBeingMadeIsNoText) {
  for (const char* name : {"in/a.txt", "in/out/x.txt", "in/out/x.meta.json", "in/out/x.idx.partial", "in/out/x.tokenizer/tokenizer.json", "in/out/xy.txt"})
    put(name, name);
  TextSelection selection;
  selection.output = path("in/out/x");
  EXPECT_EQ(names(find_text_files({path("in")}, selection)), (std::vector<std::string>{"in/a.txt", "in/out/x.txt", "in/out/xy.txt"}));
  EXPECT_EQ(names(find_text_files({path("in/out")}, selection)), (std::vector<std::string>{"in/out/x.txt", "in/out/xy.txt"}));
  selection.output = path("elsewhere/x");
  EXPECT_EQ(find_text_files({path("in")}, selection).files.size(), 6u);
}

TEST_F(TextFilesTest, NamedFilesAreTakenAsTheyAreAndInTheirOrder) {
  put("z.bin", std::string("\0z", 2));
  put(".hidden", "h");
  put("a.txt", "a");
  const TextFiles found = find_text_files({path("z.bin"), path(".hidden"), path("a.txt")}, {{".py"}});
  EXPECT_EQ(names(found), (std::vector<std::string>{"z.bin", ".hidden", "a.txt"}));
}

TEST_F(TextFilesTest, AFileIsTakenOnceAndLinksAreNotFollowedIntoFolders) {
  put("in/b.txt", "b");
  put("in/c.txt", "c");
  fs::create_directory_symlink(folder_ / "in", folder_ / "in/around");
  fs::create_symlink(folder_ / "in/b.txt", folder_ / "in/also_b.txt");
  fs::create_symlink(folder_ / "nowhere", folder_ / "in/dangling.txt");
  const TextFiles found = find_text_files({path("in/c.txt"), path("in"), path("in/around")}, {});
  EXPECT_EQ(names(found), (std::vector<std::string>{"in/c.txt", "in/also_b.txt"}));
}

TEST_F(TextFilesTest, AllProblemsAreNamed) {
  put("a.txt", "a");
  const std::string error = error_of([&] {
    find_text_files({path("x"), path("a.txt"), path("y"), "/dev/null"}, {});
  });
  EXPECT_NE(error.find(path("x") + ": no such"), std::string::npos);
  EXPECT_NE(error.find(path("y") + ": no such"), std::string::npos);
  EXPECT_NE(error.find("/dev/null: neither"), std::string::npos);
  EXPECT_EQ(error.find("a.txt"), std::string::npos);
}

TEST_F(TextFilesTest, NoTextIsAnErrorThatSaysWhatWasLeftOut) {
  put("in/a.txt", "a");
  put("in/empty.py", "");
  const std::string error = error_of([&] { find_text_files({path("in")}, {{".py"}}); });
  EXPECT_NE(error.find(".py"), std::string::npos);
  EXPECT_NE(error.find("1 empty"), std::string::npos);
}

TEST_F(TextFilesTest, NamesTellHowAFileIsRead) {
  using enum TextFormat;
  const std::vector<std::tuple<const char*, TextFormat, Compression>> expected = {
      {"a.txt", text, Compression::none},      {"b.jsonl", lines, Compression::none},
      {"c.ndjson", lines, Compression::none},  {"d.jsonl.gz", lines, Compression::gzip},
      {"e.jsonl.zst", lines, Compression::zstd}, {"f.json", text, Compression::none},
      {"g.json.gz", lines, Compression::gzip}, {"h.txt.zst", text, Compression::zstd},
  };
  for (const auto& [name, format, compression] : expected) put(cat("in/", name), "x");
  const TextFiles found = find_text_files({path("in")});
  ASSERT_EQ(found.files.size(), expected.size());
  for (size_t k = 0; k < expected.size(); ++k) {
    EXPECT_EQ(found.files[k].format, std::get<1>(expected[k])) << found.files[k].path;
    EXPECT_EQ(found.files[k].compression, std::get<2>(expected[k])) << found.files[k].path;
  }
  using Format = TextSelection::Format;
  for (const TextFile& file : find_text_files({path("in")}, {{}, Format::text}).files) EXPECT_EQ(file.format, text);
  for (const TextFile& file : find_text_files({path("in")}, {{}, Format::lines}).files) EXPECT_EQ(file.format, lines);
}

TEST_F(TextFilesTest, SuffixesAreThoseOfTheTextToo) {
  for (const char* name : {"in/a.py.gz", "in/b.py.zst", "in/c.txt.gz", "in/d.gz.txt"}) put(name, name);
  const std::vector<std::string> python = {"in/a.py.gz", "in/b.py.zst"}, gzip = {"in/a.py.gz", "in/c.txt.gz"};
  EXPECT_EQ(names(find_text_files({path("in")}, {{".py"}})), python);
  EXPECT_EQ(names(find_text_files({path("in")}, {{".gz"}})), gzip);
}

TEST_F(TextFilesTest, PatternsAreExpandedInOrder) {
  for (const char* name : {"in/b.txt", "in/B.txt", "in/a.txt", "in/a.md", "in/.c.txt", "deep/x/y.txt"}) put(name, name);
  const std::vector<std::string> expected = {"in/B.txt", "in/a.txt", "in/b.txt"};
  EXPECT_EQ(names(find_text_files({path("in/*.txt")})), expected);
  EXPECT_EQ(names(find_text_files({path("d*p")})), std::vector<std::string>{"deep/x/y.txt"});
  EXPECT_NE(error_of([&] { find_text_files({path("in/*.rst")}); }).find("*.rst: no such"), std::string::npos);
  put("in/[x].txt", "a name that looks like a pattern");
  EXPECT_EQ(names(find_text_files({path("in/[x].txt")})), std::vector<std::string>{"in/[x].txt"});
}

TEST_F(TextFilesTest, ParquetIsPointedToItsCommand) {
  put("in/a.parquet", "PAR1");
  EXPECT_NE(error_of([&] { find_text_files({path("in/*.parquet")}); }).find("docs/data.md"), std::string::npos);
}

TEST_F(TextFilesTest, StandardInputIsTakenOnce) {
  put("a.txt", "a");
  const TextFiles found = find_text_files({"-", path("a.txt"), "-"});
  ASSERT_EQ(found.files.size(), 2u);
  EXPECT_TRUE(found.files[0].standard_input);
  EXPECT_EQ(found.files[0].format, TextFormat::lines);
  EXPECT_LT(found.bytes, 0);
  EXPECT_NE(error_of([&] { part_of(found, 1, 2); }).find("standard input"), std::string::npos);
}

TEST_F(TextFilesTest, PartsShareTheBytes) {
  put("in/a.jsonl", std::string(100, 'x'));
  put("in/b.txt", std::string(50, 'x'));
  put("in/c.jsonl.gz", std::string(30, 'x'));
  put("in/d.jsonl", std::string(20, 'x'));
  const TextFiles all = find_text_files({path("in")});
  const TextFiles first = part_of(all, 1, 2), second = part_of(all, 2, 2);
  // Of 200 bytes the first 100 are those of a.jsonl.
  EXPECT_EQ(names(first), std::vector<std::string>{"in/a.jsonl"});
  EXPECT_EQ(names(second), (std::vector<std::string>{"in/b.txt", "in/c.jsonl.gz", "in/d.jsonl"}));
  for (int64_t parts : {1, 3, 7, 200, 1000}) {
    int64_t bytes = 0, at = 0;  // of a.jsonl
    std::vector<std::string> whole;
    for (int64_t part = 1; part <= parts; ++part) {
      const TextFiles own = part_of(all, part, parts);
      bytes += own.bytes;
      for (const TextFile& file : own.files) {
        if (!file.path.ends_with("a.jsonl")) continue;
        EXPECT_EQ(file.begin, at);
        at = file.end;
      }
      for (const std::string& name : names(own))
        if (name == "in/b.txt" || name == "in/c.jsonl.gz") whole.push_back(name);
    }
    EXPECT_EQ(bytes, 200) << parts;
    EXPECT_EQ(at, 100) << parts;
    EXPECT_EQ(whole, (std::vector<std::string>{"in/b.txt", "in/c.jsonl.gz"})) << parts;
  }
}

}  // namespace
}  // namespace pscale
