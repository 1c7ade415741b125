#include "data/text/byte_source.h"

#include <fcntl.h>
#include <poll.h>
#include <unistd.h>
#include <zlib.h>
#include <zstd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>
#include <vector>

#include "core/base/errors.h"

namespace pscale {
namespace {

constexpr size_t kBlock = size_t{256} << 10;

BrokenStream broken(const char* what) { return BrokenStream(cat(what, ": ", std::strerror(errno))); }

class File : public ByteSource {
 public:
  File(const std::string& path, int64_t from) : file_(::open(path.c_str(), O_RDONLY | O_CLOEXEC)) {
    if (file_ < 0) throw broken("cannot open");
    if (from > 0 && ::lseek(file_, from, SEEK_SET) < 0) {
      ::close(file_);
      throw broken("cannot read");
    }
  }
  /// Standard input.
  explicit File(const std::atomic<bool>& stop) : file_(STDIN_FILENO), stop_(&stop) {}
  ~File() override {
    if (!stop_) ::close(file_);
  }
  File(const File&) = delete;
  File& operator=(const File&) = delete;

  size_t read(char* buffer, size_t count) override {
    size_t done = 0;
    while (done < count && wait()) {
      const ssize_t got = ::read(file_, buffer + done, count - done);
      if (got < 0 && (errno == EINTR || errno == EAGAIN)) continue;
      if (got < 0) throw broken("cannot read");
      if (got == 0) break;
      done += static_cast<size_t>(got);
    }
    consumed_ += static_cast<int64_t>(done);
    return done;
  }
  int64_t consumed() const override { return consumed_; }

 private:
  /// False where nobody wants to read on.
  bool wait() const {
    if (!stop_) return true;
    for (pollfd input = {file_, POLLIN, 0}; !*stop_;)
      if (::poll(&input, 1, 100) != 0) return true;
    return false;
  }

  int file_;
  const std::atomic<bool>* stop_ = nullptr;
  int64_t consumed_ = 0;
};

/// What the decoders share: blocks of compressed bytes.
class Decoder : public ByteSource {
 public:
  explicit Decoder(std::unique_ptr<ByteSource> file) : file_(std::move(file)), block_(kBlock) {}
  int64_t consumed() const override { return file_->consumed(); }

 protected:
  /// Fetches a block where the last one is used up; false at the end of the file.
  bool fill() {
    if (at_ < end_) return true;
    at_ = 0;
    end_ = file_->read(block_.data(), block_.size());
    return end_ > 0;
  }

  std::unique_ptr<ByteSource> file_;
  std::vector<char> block_;
  size_t at_ = 0, end_ = 0;  // of what is left of the block
};

class Gzip : public Decoder {
 public:
  explicit Gzip(std::unique_ptr<ByteSource> file) : Decoder(std::move(file)) {
    constexpr int gzip_only = 16;
    if (::inflateInit2(&stream_, MAX_WBITS + gzip_only) != Z_OK) throw BrokenStream("out of memory");
  }
  ~Gzip() override { ::inflateEnd(&stream_); }

  size_t read(char* buffer, size_t count) override {
    size_t done = 0;
    while (done < count) {
      if (!fill()) {
        if (inside_) throw BrokenStream("the gzip data end too early: the file is cut off");
        break;
      }
      if (!inside_ && block_[at_] == 0 && members_ > 0) {  // tapes fill their last block with zeros
        ++at_;
        continue;
      }
      inside_ = true;
      const size_t room = std::min(count - done, size_t{1} << 30);
      stream_.next_in = reinterpret_cast<Bytef*>(block_.data() + at_);
      stream_.avail_in = static_cast<uInt>(end_ - at_);
      stream_.next_out = reinterpret_cast<Bytef*>(buffer + done);
      stream_.avail_out = static_cast<uInt>(room);
      const int result = ::inflate(&stream_, Z_NO_FLUSH);
      at_ = end_ - stream_.avail_in;
      done += room - stream_.avail_out;
      if (result == Z_STREAM_END) {
        ++members_;
        inside_ = false;
        ::inflateReset(&stream_);
      } else if (result != Z_OK && result != Z_BUF_ERROR) {
        throw BrokenStream(cat("the gzip data are damaged: ", stream_.msg ? stream_.msg : "no reason given"));
      }
    }
    return done;
  }

 private:
  z_stream stream_{};
  bool inside_ = false;  // a member
  int64_t members_ = 0;  // complete
};

class Zstd : public Decoder {
 public:
  explicit Zstd(std::unique_ptr<ByteSource> file) : Decoder(std::move(file)), stream_(::ZSTD_createDStream()) {
    if (!stream_) throw BrokenStream("out of memory");
    // What was written with --long, too.
    ::ZSTD_DCtx_setParameter(stream_, ZSTD_d_windowLogMax, ::ZSTD_dParam_getBounds(ZSTD_d_windowLogMax).upperBound);
  }
  ~Zstd() override { ::ZSTD_freeDStream(stream_); }

  size_t read(char* buffer, size_t count) override {
    ZSTD_outBuffer out = {buffer, count, 0};
    while (out.pos < out.size) {
      const bool more = fill();
      if (!more && !inside_) break;
      ZSTD_inBuffer in = {block_.data(), end_, at_};
      const size_t before = out.pos;
      const size_t left = ::ZSTD_decompressStream(stream_, &out, &in);
      if (::ZSTD_isError(left)) throw BrokenStream(cat("the zstd data are damaged: ", ::ZSTD_getErrorName(left)));
      at_ = in.pos;
      inside_ = left != 0;
      // Without input it may still hand out what it holds.
      if (!more && inside_ && out.pos == before) throw BrokenStream("the zstd data end too early: the file is cut off");
    }
    return out.pos;
  }

 private:
  ZSTD_DStream* stream_;
  bool inside_ = false;  // a frame
};

/// Gives bytes again that were read to look at them.
class Repeated : public ByteSource {
 public:
  Repeated(std::string first, std::unique_ptr<ByteSource> rest) : first_(std::move(first)), rest_(std::move(rest)) {}
  size_t read(char* buffer, size_t count) override {
    const size_t again = first_.copy(buffer, count, at_);
    at_ += again;
    return again + rest_->read(buffer + again, count - again);
  }
  int64_t consumed() const override { return rest_->consumed(); }

 private:
  std::string first_;
  size_t at_ = 0;
  std::unique_ptr<ByteSource> rest_;
};

std::unique_ptr<ByteSource> decompressed(std::unique_ptr<ByteSource> file, Compression compression) {
  switch (compression) {
    case Compression::none: return file;
    case Compression::gzip: return std::make_unique<Gzip>(std::move(file));
    case Compression::zstd: return std::make_unique<Zstd>(std::move(file));
  }
  return nullptr;
}

}  // namespace

Compression compression_of(const std::string& path) {
  return path.ends_with(".gz") ? Compression::gzip : path.ends_with(".zst") ? Compression::zstd : Compression::none;
}

std::unique_ptr<ByteSource> open_bytes(const std::string& path, Compression compression, int64_t from) {
  return decompressed(std::make_unique<File>(path, from), compression);
}

std::unique_ptr<ByteSource> open_standard_input(const std::atomic<bool>& stop) {
  auto file = std::make_unique<File>(stop);
  std::string first(4, '\0');
  first.resize(file->read(first.data(), first.size()));
  const Compression compression = first.starts_with("\x1f\x8b")           ? Compression::gzip
                                  : first == "\x28\xb5\x2f\xfd" ? Compression::zstd
                                                                          : Compression::none;
  return decompressed(std::make_unique<Repeated>(first, std::move(file)), compression);
}

}  // namespace pscale
