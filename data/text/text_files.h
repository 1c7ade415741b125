// Which files a corpus consists of, and reading them. pscale_data prepare is its user.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

namespace pscale {

struct TextFile {
  std::string path;
  int64_t bytes = 0;
};

struct TextFiles {
  std::vector<TextFile> files;    ///< one document each, in the order of the corpus
  int64_t bytes = 0;              ///< of all files
  int64_t binary = 0, empty = 0;  ///< files that were left out
};

/// Files and folders -> files, the same list on every machine: inputs in the order given, the files below a
/// folder by their path, byte by byte. A file that is named is taken as it is. Below a folder, hidden names
/// (".x"), symbolic links to folders, files without one of `suffixes` (if there are any) and binary files (a
/// zero byte within the first 8 KiB) are left out. Empty files are left out everywhere; a file that is
/// reached twice, by a link too, is taken once, at its first place. Throws UserError with all inputs that do
/// not exist or cannot be read, or where no file remains.
TextFiles find_text_files(const std::vector<std::string>& inputs, const std::vector<std::string>& suffixes);

/// Calls `take` with consecutive pieces of a file, of at most `piece` bytes. Throws UserError where it cannot
/// be read.
void read_text(const std::string& path, size_t piece, const std::function<void(std::string_view)>& take);

}  // namespace pscale
