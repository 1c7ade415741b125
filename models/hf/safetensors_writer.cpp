#include "models/hf/safetensors_writer.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <nlohmann/json.hpp>

#include "core/base/durable_file.h"
#include "core/base/errors.h"

namespace pscale {

namespace {

/// Names of the format, in its order of the types: the widest first.
const char* format_name(DType dtype) {
  switch (dtype) {
    case DType::float64: return "F64";
    case DType::float32: return "F32";
    case DType::int32: return "I32";
    default: return "BF16";
  }
}

int rank_of(DType dtype) {
  switch (dtype) {
    case DType::float64: return 0;
    case DType::float32: return 1;
    case DType::int32: return 2;
    default: return 3;
  }
}

}  // namespace

int64_t SafetensorsWriter::Item::bytes() const {
  int64_t count = size_of(dtype);
  for (const int64_t size : shape) count *= size;
  return count;
}

SafetensorsWriter::SafetensorsWriter(std::string path, std::vector<Item> items)
    : path_(std::move(path)), partial_(path_ + ".partial"), items_(std::move(items)) {
  std::sort(items_.begin(), items_.end(), [](const Item& a, const Item& b) {
    return std::make_pair(rank_of(a.dtype), a.name) < std::make_pair(rank_of(b.dtype), b.name);
  });
  nlohmann::ordered_json header = {{"__metadata__", {{"format", "pt"}}}};
  for (const Item& item : items_) {
    header[item.name] = {{"dtype", format_name(item.dtype)},
                         {"shape", item.shape},
                         {"data_offsets", {missing_, missing_ + item.bytes()}}};
    missing_ += item.bytes();
  }
  std::string text = header.dump();
  text.resize((text.size() + 7) / 8 * 8, ' ');
  const uint64_t length = text.size();
  file_ = open(partial_.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
  if (file_ < 0) fail("cannot be made");
  try {
    write_all(&length, 8);
    write_all(text.data(), text.size());
  } catch (...) {
    close(file_);
    unlink(partial_.c_str());
    throw;
  }
}

SafetensorsWriter::~SafetensorsWriter() {
  if (file_ < 0) return;
  close(file_);
  unlink(partial_.c_str());
}

void SafetensorsWriter::write(const void* bytes, size_t count) {
  PSCALE_CHECK(static_cast<int64_t>(count) <= missing_, path_, ": more bytes than were announced");
  write_all(bytes, count);
  missing_ -= static_cast<int64_t>(count);
}

void SafetensorsWriter::write_all(const void* bytes, size_t count) {
  for (size_t done = 0; done < count;) {
    const ssize_t n = ::write(file_, static_cast<const char*>(bytes) + done, count - done);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) fail("cannot be written");
    done += static_cast<size_t>(n);
  }
}

void SafetensorsWriter::publish() {
  PSCALE_CHECK(missing_ == 0, path_, ": ", missing_, " bytes were announced and not written");
  if (fsync(file_) != 0) fail("cannot be brought to the disk");
  const int file = std::exchange(file_, -1);
  if (close(file) != 0) fail("cannot be written");
  rename_durably(partial_, path_);
}

void SafetensorsWriter::fail(const char* what) const {
  throw UserError(cat(path_, ": ", what, ": ", std::strerror(errno)));
}

}  // namespace pscale
