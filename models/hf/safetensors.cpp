#include "models/hf/safetensors.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <bit>
#include <cerrno>
#include <cmath>
#include <cstring>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>
#include <tuple>

#include "core/base/errors.h"
#include "models/hf/safetensors_writer.h"

namespace pscale {

namespace {

int64_t dtype_bytes(const std::string& dtype) {
  if (dtype == "F64" || dtype == "I64" || dtype == "U64") return 8;
  if (dtype == "F32" || dtype == "I32" || dtype == "U32") return 4;
  if (dtype == "F16" || dtype == "BF16" || dtype == "I16" || dtype == "U16") return 2;
  if (dtype == "I8" || dtype == "U8" || dtype == "BOOL") return 1;
  return 0;
}

/// Bytes that a shape needs; nothing where a size is negative or the product is beyond any file.
std::optional<uint64_t> bytes_of(const std::vector<int64_t>& shape, int64_t width) {
  int64_t bytes = width;
  for (const int64_t size : shape)
    if (size < 0 || __builtin_mul_overflow(bytes, size, &bytes)) return std::nullopt;
  return static_cast<uint64_t>(bytes);
}

/// A JSON object; a name that stands in it twice is thrown as UserError, which the parser alone would not notice.
nlohmann::json parse_header(std::string_view text, const std::string& path) {
  std::set<std::string> seen;
  const auto watch = [&](int depth, nlohmann::json::parse_event_t event, nlohmann::json& parsed) {
    if (event == nlohmann::json::parse_event_t::key && depth == 1 && !seen.insert(parsed.get<std::string>()).second)
      throw UserError(cat(path, ": tensor ", parsed.get<std::string>(), " stands in the header twice"));
    return true;
  };
  return nlohmann::json::parse(text.begin(), text.end(), watch, false);
}

}  // namespace

int64_t SafetensorsFile::Entry::elements() const {
  int64_t count = 1;
  for (const int64_t size : shape) count *= size;
  return count;
}

SafetensorsFile::SafetensorsFile(const std::string& path) : path_(path) {
  try {
    file_ = open(path.c_str(), O_RDONLY | O_CLOEXEC);
    if (file_ < 0) throw UserError(cat(path, ": cannot be opened: ", std::strerror(errno)));
    struct stat info {};
    fstat(file_, &info);
    if (!S_ISREG(info.st_mode)) throw UserError(cat(path, ": is not a file"));
    bytes_ = static_cast<size_t>(info.st_size);
    if (bytes_ < 8) throw UserError(cat(path, ": is too short for a safetensors file"));
    void* map = mmap(nullptr, bytes_, PROT_READ, MAP_PRIVATE, file_, 0);
    if (map == MAP_FAILED) throw UserError(cat(path, ": cannot be mapped: ", std::strerror(errno)));
    map_ = map;
    parse(std::string_view(static_cast<const char*>(map_), bytes_));
  } catch (...) {
    if (map_ != nullptr) munmap(map_, bytes_);
    if (file_ >= 0) close(file_);
    throw;
  }
}

void SafetensorsFile::parse(std::string_view file) {
  const auto broken = [&](const std::string& what) { return UserError(cat(path_, ": ", what)); };
  uint64_t header = 0;
  std::memcpy(&header, file.data(), 8);
  if (header > file.size() - 8) throw broken("is cut short, or not a safetensors file (its header does not fit)");
  const nlohmann::json json = parse_header(file.substr(8, header), path_);
  if (!json.is_object()) throw broken("is not a safetensors file (its header is not JSON)");
  const std::string_view data = file.substr(8 + header);
  struct Range {
    uint64_t begin, end;
    std::string name;
    bool operator<(const Range& other) const { return std::tie(begin, end) < std::tie(other.begin, other.end); }
  };
  std::vector<Range> ranges;
  try {
    for (const auto& [name, value] : json.items()) {
      if (name == "__metadata__") continue;
      Entry entry{value.at("dtype"), value.at("shape"), {}};
      const uint64_t begin = value.at("data_offsets").at(0), end = value.at("data_offsets").at(1);
      if (begin > end || end > data.size()) throw broken(cat("tensor ", name, " lies outside the file (cut short?)"));
      entry.bytes = data.substr(begin, end - begin);
      const int64_t width = dtype_bytes(entry.dtype);
      const auto needed = bytes_of(entry.shape, std::max<int64_t>(width, 1));
      if (!needed || (width != 0 && *needed != entry.bytes.size()))
        throw broken(cat("tensor ", name, " has ", entry.bytes.size(), " bytes, its shape needs ",
                         needed ? cat(*needed) : "more than any file has"));
      ranges.push_back({begin, end, name});
      entries_.emplace(name, std::move(entry));
    }
  } catch (const nlohmann::json::exception& e) {
    throw broken(cat("has a broken header: ", e.what()));
  }
  std::sort(ranges.begin(), ranges.end());
  uint64_t at = 0;
  for (const Range& range : ranges) {
    if (range.begin < at) throw broken(cat("tensor ", range.name, " lies over the tensor before it"));
    at = range.end;
  }
}

SafetensorsFile::~SafetensorsFile() {
  if (map_ != nullptr) munmap(map_, bytes_);
  if (file_ >= 0) close(file_);
}

SafetensorsFile::SafetensorsFile(SafetensorsFile&& other) noexcept
    : path_(std::move(other.path_)),
      file_(std::exchange(other.file_, -1)),
      map_(std::exchange(other.map_, nullptr)),
      bytes_(other.bytes_),
      entries_(std::move(other.entries_)) {}

const SafetensorsFile::Entry& SafetensorsFile::at(const std::string& name) const {
  const auto it = entries_.find(name);
  if (it == entries_.end()) throw UserError(cat(path_, ": tensor ", name, " is missing"));
  return it->second;
}

void SafetensorsFile::read(const std::string& name, uint64_t first, uint64_t count, void* out) const {
  const Entry& entry = at(name);
  PSCALE_CHECK(first <= entry.bytes.size() && count <= entry.bytes.size() - first, name, ": bytes ", first, " + ",
               count, " of ", entry.bytes.size());
  const auto begin = static_cast<uint64_t>(entry.bytes.data() - static_cast<const char*>(map_)) + first;
  for (uint64_t done = 0; done < count;) {
    const ssize_t n = pread(file_, static_cast<char*>(out) + done, count - done, static_cast<off_t>(begin + done));
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0)
      throw UserError(
          cat(path_, ": tensor ", name, " cannot be read: ", n == 0 ? "the file was cut short" : std::strerror(errno)));
    done += static_cast<uint64_t>(n);
  }
}

float half_to_float(uint16_t bits) {
  const uint32_t sign = (bits & 0x8000u) << 16, exponent = (bits >> 10) & 31u, fraction = bits & 0x3ffu;
  if (exponent == 31) return std::bit_cast<float>(sign | 0x7f800000u | fraction << 13);
  if (exponent != 0) return std::bit_cast<float>(sign | (exponent + 112) << 23 | fraction << 13);
  const float small = std::ldexp(static_cast<float>(fraction), -24);
  return sign ? -small : small;
}

std::vector<float> SafetensorsFile::floats(const std::string& name) const {
  const Entry& entry = at(name);
  std::vector<float> values(static_cast<size_t>(entry.elements()));
  const auto fill = [&]<class T>(T, auto&& widen) {
    for (size_t i = 0; i < values.size(); ++i) {
      T value;
      std::memcpy(&value, entry.bytes.data() + sizeof(T) * i, sizeof(T));
      values[i] = widen(value);
    }
  };
  if (entry.dtype == "F32") {
    std::memcpy(values.data(), entry.bytes.data(), entry.bytes.size());
  } else if (entry.dtype == "BF16") {
    fill(bfloat16{}, [](bfloat16 value) { return static_cast<float>(value); });
  } else if (entry.dtype == "F16") {
    fill(uint16_t{}, half_to_float);
  } else if (entry.dtype == "F64") {
    fill(double{}, [](double value) { return static_cast<float>(value); });
  } else {
    throw UserError(cat(path_, ": tensor ", name, " is ", entry.dtype, "; F32, F64, BF16 or F16 is needed"));
  }
  return values;
}

std::vector<int32_t> SafetensorsFile::ints(const std::string& name) const {
  const Entry& entry = at(name);
  if (entry.dtype != "I32") throw UserError(cat(path_, ": tensor ", name, " is ", entry.dtype, "; I32 is needed"));
  std::vector<int32_t> values(static_cast<size_t>(entry.elements()));
  std::memcpy(values.data(), entry.bytes.data(), entry.bytes.size());
  return values;
}

void write_safetensors(const std::string& path, const std::map<std::string, SafetensorsValue>& tensors) {
  std::vector<SafetensorsWriter::Item> items;
  for (const auto& [name, value] : tensors) items.push_back({name, DType::float32, value.shape});
  SafetensorsWriter writer(path, std::move(items));
  for (const auto& item : writer.items()) {
    const std::vector<float>& values = tensors.at(item.name).values;
    writer.write(values.data(), values.size() * sizeof(float));
  }
  writer.publish();
}

}  // namespace pscale
