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
  const TextFiles found = find_text_files({path("in")}, {".py", ".txt"});
  EXPECT_EQ(names(found), (std::vector<std::string>{"in/a.py", "in/b.txt"}));
  EXPECT_EQ(found.binary, 1);
  EXPECT_EQ(found.empty, 1);
}

TEST_F(TextFilesTest, NamedFilesAreTakenAsTheyAreAndInTheirOrder) {
  put("z.bin", std::string("\0z", 2));
  put(".hidden", "h");
  put("a.txt", "a");
  const TextFiles found = find_text_files({path("z.bin"), path(".hidden"), path("a.txt")}, {".py"});
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
  const std::string error = error_of([&] { find_text_files({path("in")}, {".py"}); });
  EXPECT_NE(error.find(".py"), std::string::npos);
  EXPECT_NE(error.find("1 empty"), std::string::npos);
}

TEST_F(TextFilesTest, ReadsInPieces) {
  std::string text;
  for (int i = 0; i < 1000; ++i) text += std::to_string(i);
  put("t", text);
  std::string read;
  size_t largest = 0, pieces = 0;
  read_text(path("t"), 64, [&](std::string_view piece) {
    read += piece;
    largest = std::max(largest, piece.size());
    ++pieces;
  });
  EXPECT_EQ(read, text);
  EXPECT_EQ(largest, 64u);
  EXPECT_EQ(pieces, (text.size() + 63) / 64);
  EXPECT_NE(error_of([&] { read_text(path("none"), 64, [](std::string_view) {}); }).find("none"),
            std::string::npos);
}

}  // namespace
}  // namespace pscale
