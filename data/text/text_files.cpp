#include "data/text/text_files.h"

#include <glob.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <set>
#include <utility>

#include "core/base/errors.h"

namespace pscale {
namespace {

namespace fs = std::filesystem;

constexpr size_t kProbe = 8192;

/// The name without .gz and .zst.
std::string plain_name(const std::string& path) {
  switch (compression_of(path)) {
    case Compression::none: return path;
    case Compression::gzip: return path.substr(0, path.size() - 3);
    case Compression::zstd: return path.substr(0, path.size() - 4);
  }
  return path;
}

TextFormat format_of(const std::string& path, TextSelection::Format asked) {
  if (asked == TextSelection::Format::text) return TextFormat::text;
  if (asked == TextSelection::Format::lines) return TextFormat::lines;
  const std::string name = plain_name(path);
  const bool lines = name.ends_with(".jsonl") || name.ends_with(".ndjson") ||
                     (name.ends_with(".json") && name.size() < path.size());
  return lines ? TextFormat::lines : TextFormat::text;
}

/// Throws UserError where the file cannot be read. Damage of compressed data is left to the reader, who tells where.
bool is_binary(const TextFile& file) {
  char probe[kProbe];
  const auto zero_in = [&](Compression compression, size_t count) {
    return std::memchr(probe, 0, open_bytes(file.path, compression)->read(probe, count)) != nullptr;
  };
  try {
    const bool text = file.format == TextFormat::text;
    if (file.compression == Compression::none) return zero_in(file.compression, text ? sizeof probe : 1) && text;
    zero_in(Compression::none, 1);
    if (!text) return false;
  } catch (const BrokenStream& unreadable) {
    throw UserError(cat(file.path, ": ", unreadable.what()));
  }
  try {
    return zero_in(file.compression, sizeof probe);
  } catch (const BrokenStream&) {
    return false;
  }
}

bool has_suffix(const std::string& path, const std::vector<std::string>& suffixes) {
  if (suffixes.empty()) return true;
  const std::string name = plain_name(path);
  return std::any_of(suffixes.begin(), suffixes.end(), [&](const std::string& suffix) {
    return path.ends_with(suffix) || name.ends_with(suffix);
  });
}

/// Whether a path is one that prepare or training writes beside token files. `output`: PREFIX and a dot, or empty.
bool is_output(const std::string& path, const std::string& output) {
  if (output.empty() || !path.starts_with(output)) return false;
  const std::string_view rest = std::string_view(path).substr(output.size());
  for (const std::string_view kind : {"bin", "idx", "meta.json", "tokenizer", "cache"})
    if (rest == kind || rest == std::string(kind) + ".partial") return true;
  return false;
}

/// The paths that a pattern of the shell finds, in order; none where it is no pattern or finds nothing.
std::vector<std::string> matches(const std::string& pattern) {
  std::vector<std::string> paths;
  if (pattern.find_first_of("*?[") == std::string::npos) return paths;
  glob_t found{};
  if (::glob(pattern.c_str(), GLOB_NOSORT, nullptr, &found) == 0)
    paths.assign(found.gl_pathv, found.gl_pathv + found.gl_pathc);
  ::globfree(&found);
  std::sort(paths.begin(), paths.end());
  return paths;
}

/// Collects files in order, and all that is wrong with them.
class Finder {
 public:
  explicit Finder(const TextSelection& selection) : selection_(selection) {}

  void take(const std::string& input) {
    if (input == "-") return standard_input();
    std::error_code error;
    const fs::file_status status = fs::status(input, error);
    if (status.type() == fs::file_type::not_found) {
      const std::vector<std::string> found = matches(input);
      for (const std::string& path : found) take(path);
      if (found.empty()) problems_.push_back(cat(input, ": no such file or folder"));
    } else if (status.type() == fs::file_type::directory) {
      folder(input);
    } else if (status.type() == fs::file_type::regular) {
      add(input, true);
    } else {
      problems_.push_back(cat(input, ": ", error ? error.message() : "neither a file nor a folder"));
    }
  }

  TextFiles finish(const std::vector<std::string>& inputs) {
    if (problems_.empty() && found_.files.empty())
      problems_.push_back(
          cat("no text in ", join(inputs, ", "),
              selection_.suffixes.empty() ? "" : cat(": no file with suffix ", join(selection_.suffixes, ", ")),
              " (left out: ", found_.binary, " binary and ", found_.empty, " empty files)"));
    if (!problems_.empty()) throw UserError(std::move(problems_));
    return std::move(found_);
  }

 private:
  /// How the paths of the output's files begin in a folder; empty where they do not lie in it.
  std::string output_below(const std::string& folder) const {
    if (selection_.output.empty()) return {};
    std::error_code ignored;
    const fs::path below =
        fs::weakly_canonical(selection_.output, ignored).lexically_relative(fs::weakly_canonical(folder, ignored));
    if (below.empty() || *below.begin() == "..") return {};
    return (fs::path(folder) / below).native() + ".";
  }

  void standard_input() {
    const auto is_input = [](const TextFile& file) { return file.standard_input; };
    if (std::any_of(found_.files.begin(), found_.files.end(), is_input)) return;
    TextFile file;
    file.path = "standard input";
    file.format = selection_.format == TextSelection::Format::text ? TextFormat::text : TextFormat::lines;
    file.standard_input = true;
    found_.files.push_back(file);
    found_.bytes = -1;
  }

  void folder(const std::string& input) {
    std::vector<std::string> paths;
    std::error_code error;
    const std::string output = output_below(input);
    fs::recursive_directory_iterator entry(input, error);
    for (; !error && entry != fs::recursive_directory_iterator(); entry.increment(error)) {
      if (entry->path().filename().native().starts_with('.') || is_output(entry->path().native(), output)) {
        entry.disable_recursion_pending();
        continue;
      }
      std::error_code ignored;  // a dangling link is no file
      if (entry->is_symlink(ignored) && entry->is_directory(ignored)) ++found_.links;
      if (entry->is_regular_file(ignored) && has_suffix(entry->path().native(), selection_.suffixes))
        paths.push_back(entry->path().native());
    }
    if (error) problems_.push_back(cat(input, ": cannot list the folder: ", error.message()));
    std::sort(paths.begin(), paths.end());
    for (const std::string& path : paths) add(path, false);
  }

  void add(const std::string& path, bool named) {
    try {
      struct stat status {};
      if (::stat(path.c_str(), &status) != 0)
        throw UserError(cat(path, ": cannot read: ", std::strerror(errno)));
      if (!seen_.insert({status.st_dev, status.st_ino}).second) {
        ++found_.again;
        return;
      }
      TextFile file;
      file.path = path;
      file.bytes = status.st_size;
      file.format = format_of(path, selection_.format);
      file.compression = compression_of(path);
      if (file.bytes == 0) {
        ++found_.empty;
      } else if (is_binary(file) && !named) {  // is_binary() also tells early that a file cannot be read
        ++found_.binary;
      } else if (path.ends_with(".parquet")) {
        throw UserError(cat(path, ": Parquet is no text; docs/data.md has a command that streams it into prepare -"));
      } else {
        if (found_.bytes >= 0) found_.bytes += file.bytes;
        found_.files.push_back(std::move(file));
      }
    } catch (const UserError& unreadable) {
      problems_.insert(problems_.end(), unreadable.problems().begin(), unreadable.problems().end());
    }
  }

  const TextSelection& selection_;
  TextFiles found_;
  std::set<std::pair<dev_t, ino_t>> seen_;
  std::vector<std::string> problems_;
};

/// total · part / parts, where the product may not fit.
int64_t boundary(int64_t total, int64_t part, int64_t parts) {
  return total / parts * part + total % parts * part / parts;
}

}  // namespace

TextFiles find_text_files(const std::vector<std::string>& inputs, const TextSelection& selection) {
  Finder finder(selection);
  for (const std::string& input : inputs) finder.take(input);
  return finder.finish(inputs);
}

TextFiles part_of(const TextFiles& all, int64_t part, int64_t parts) {
  if (all.bytes < 0)
    throw UserError("--part: standard input has no parts that others could prepare; name files, or leave --part out");
  const int64_t first = boundary(all.bytes, part - 1, parts), last = boundary(all.bytes, part, parts);
  TextFiles own = all;
  own.files.clear();
  own.bytes = 0;
  int64_t begin = 0;  // of the file, all files laid end to end
  for (TextFile file : all.files) {
    const int64_t place = begin;
    begin += file.bytes;
    if (file.format == TextFormat::lines && file.compression == Compression::none) {
      file.begin = std::clamp<int64_t>(first - place, 0, file.bytes);
      file.end = std::clamp<int64_t>(last - place, 0, file.bytes);
      if (file.begin == file.end) continue;
      own.bytes += file.end - file.begin;
    } else {
      if (place < first || place >= last) continue;
      own.bytes += file.bytes;
    }
    own.files.push_back(std::move(file));
  }
  return own;
}

}  // namespace pscale
