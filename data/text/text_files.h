// Which files a corpus consists of, how each is to be read, and which part of them one of several processes takes.
#pragma once

#include <cstdint>
#include <limits>
#include <string>
#include <vector>

#include "data/text/byte_source.h"

namespace pscale {

/// text: the file is one document. lines: JSONL, a document per line.
enum class TextFormat { text, lines };

struct TextFile {
  std::string path;
  int64_t bytes = 0;  ///< as it lies on the disk
  TextFormat format = TextFormat::text;
  Compression compression = Compression::none;
  /// The part to read, in bytes of the file; cut only where lines are not compressed, and then it is the lines that
  /// begin there.
  int64_t begin = 0, end = std::numeric_limits<int64_t>::max();
  bool standard_input = false;
};

struct TextFiles {
  std::vector<TextFile> files;    ///< in the order of the corpus
  int64_t bytes = 0;              ///< of all files; negative where nobody knows (standard input)
  int64_t binary = 0, empty = 0;  ///< files that were left out
  int64_t links = 0, again = 0;   ///< links to folders, and files reached before, that were left out
};

struct TextSelection {
  std::vector<std::string> suffixes;  ///< of the files to take from folders; empty: all
  enum class Format { by_name, text, lines } format = Format::by_name;
  std::string output;  ///< PREFIX of the token files to be made; below folders, they are no text
};

/// Files, folders and patterns -> files, the same list on every machine: inputs in the order given, the files below a
/// folder or of a pattern by their path, byte by byte. "-" is standard input: lines. By their names, .jsonl and .ndjson
/// are lines and so are .json.gz and .json.zst; all else is text. Names ending in .gz and .zst are decompressed.
///
/// A file that is named, or that a pattern such as "data/*.txt" finds, is taken as it is. Below a folder, hidden names
/// (".x"), symbolic links to folders, files without one of `suffixes` (with or without .gz and .zst) and binary files (a
/// zero byte within the first 8 KiB of a text) are left out. Empty files are left out everywhere; a file that is reached
/// twice, by a link too, is taken once, at its first place. Throws UserError with all inputs that do not exist or cannot
/// be read, or where no file remains.
TextFiles find_text_files(const std::vector<std::string>& inputs, const TextSelection& selection = {});

/// The documents that process `part` of `parts` (1 to `parts`) prepares: those whose first byte lies in the part-th of
/// `parts` equal pieces of all files laid end to end. Lines that are not compressed are shared by several processes, any
/// other file goes to one as a whole. Together the parts are the corpus, in its order. Throws UserError for standard
/// input, which nobody else sees.
TextFiles part_of(const TextFiles& all, int64_t part, int64_t parts);

}  // namespace pscale
