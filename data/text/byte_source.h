// The bytes of an input, decompressed while they are read. Concatenated gzip members and zstd frames count as one
// stream. Memory does not grow with the file.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <stdexcept>
#include <string>

namespace pscale {

enum class Compression { none, gzip, zstd };

/// What the name of a file says: .gz, .zst or neither.
Compression compression_of(const std::string& path);

/// An input that cannot be read on: damaged, cut off, or the system's error. The reader adds file and line.
struct BrokenStream : std::runtime_error {
  using std::runtime_error::runtime_error;
};

class ByteSource {
 public:
  virtual ~ByteSource() = default;
  /// Fills `buffer` unless the data end first; returns the bytes read. Throws BrokenStream.
  virtual size_t read(char* buffer, size_t count) = 0;
  /// Bytes of the file that were needed so far, as they lie on the disk.
  virtual int64_t consumed() const = 0;
};

/// Opens a file from byte `from` on (0 where it is compressed). Throws BrokenStream.
std::unique_ptr<ByteSource> open_bytes(const std::string& path, Compression compression, int64_t from = 0);

/// Standard input, decompressed where its first bytes say that it is compressed: no line of JSON begins like that.
/// Waiting for input ends, as if it were complete, when `stop` becomes true.
std::unique_ptr<ByteSource> open_standard_input(const std::atomic<bool>& stop);

}  // namespace pscale
