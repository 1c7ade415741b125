// Numbers that are found from token files once and kept beside them, in a file
//
//   u64 magic and version, key, count, XXH3 of the rest; then i64 numbers[count]
//
// A file that is damaged or of another key is made again. Processes that need the same one at the same time wait for the
// first of them (flock on a file `lock` in its folder), then map the file: a node holds it once. Where the folder cannot be
// written each process keeps the numbers in its own memory.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "data/files/mapped_file.h"

namespace pscale {

class CachedNumbers {
 public:
  /// `key`: a hash of all that `compute` depends on. `compute` gives `count` numbers; it is called where no sound file has
  /// them. Throws what `compute` throws.
  CachedNumbers(const std::string& path, uint64_t key, size_t count, const std::function<std::vector<int64_t>()>& compute);

  const int64_t* begin() const { return numbers_; }
  int64_t operator[](size_t i) const { return numbers_[i]; }

 private:
  bool read(const std::string& path, uint64_t key, size_t count);

  std::unique_ptr<MappedFile> file_;
  std::vector<int64_t> own_;  // where there is no file
  const int64_t* numbers_ = nullptr;
};

/// Where the files of a pair of token files lie: PREFIX.cache/WHAT-KEY.index
std::string cache_path(const std::string& prefix, const std::string& what, uint64_t key);

}  // namespace pscale
