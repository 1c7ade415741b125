#include "models/hf/safetensors.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdio>
#include <cstring>
#include <fstream>
#include <nlohmann/json.hpp>

#include "core/base/errors.h"
#include "core/tensor/dtype.h"

namespace pscale {

namespace {

int64_t dtype_bytes(const std::string& dtype) {
  if (dtype == "F64" || dtype == "I64" || dtype == "U64") return 8;
  if (dtype == "F32" || dtype == "I32" || dtype == "U32") return 4;
  if (dtype == "F16" || dtype == "BF16" || dtype == "I16" || dtype == "U16") return 2;
  if (dtype == "I8" || dtype == "U8" || dtype == "BOOL") return 1;
  return 0;
}

}  // namespace

int64_t SafetensorsFile::Entry::elements() const {
  int64_t count = 1;
  for (const int64_t size : shape) count *= size;
  return count;
}

SafetensorsFile::SafetensorsFile(const std::string& path) : path_(path) {
  const auto broken = [&](const std::string& what) {
    if (map_ != nullptr) munmap(map_, bytes_);
    map_ = nullptr;
    return UserError(cat(path, ": ", what));
  };
  const int file = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (file < 0) throw broken(cat("cannot be opened: ", std::strerror(errno)));
  struct stat info {};
  fstat(file, &info);
  bytes_ = static_cast<size_t>(info.st_size);
  if (bytes_ < 8) {
    close(file);
    throw broken("is too short for a safetensors file");
  }
  map_ = mmap(nullptr, bytes_, PROT_READ, MAP_PRIVATE, file, 0);
  close(file);
  if (map_ == MAP_FAILED) {
    map_ = nullptr;
    throw broken(cat("cannot be mapped: ", std::strerror(errno)));
  }
  const char* start = static_cast<const char*>(map_);
  uint64_t header = 0;
  std::memcpy(&header, start, 8);
  if (header > bytes_ - 8) throw broken("is cut short, or not a safetensors file (its header does not fit)");
  const nlohmann::json json = nlohmann::json::parse(start + 8, start + 8 + header, nullptr, false);
  if (!json.is_object()) throw broken("is not a safetensors file (its header is not JSON)");
  const std::string_view data(start + 8 + header, bytes_ - 8 - header);
  try {
    for (const auto& [name, value] : json.items()) {
      if (name == "__metadata__") continue;
      Entry entry{value.at("dtype"), value.at("shape"), {}};
      const uint64_t begin = value.at("data_offsets").at(0), end = value.at("data_offsets").at(1);
      if (begin > end || end > data.size()) throw broken(cat("tensor ", name, " lies outside the file (cut short?)"));
      entry.bytes = data.substr(begin, end - begin);
      const int64_t width = dtype_bytes(entry.dtype);
      if (width != 0 && entry.elements() * width != static_cast<int64_t>(entry.bytes.size()))
        throw broken(cat("tensor ", name, " has ", entry.bytes.size(), " bytes, its shape needs ",
                         entry.elements() * width));
      entries_.emplace(name, std::move(entry));
    }
  } catch (const nlohmann::json::exception& e) {
    throw broken(cat("has a broken header: ", e.what()));
  }
}

SafetensorsFile::~SafetensorsFile() {
  if (map_ != nullptr) munmap(map_, bytes_);
}

SafetensorsFile::SafetensorsFile(SafetensorsFile&& other) noexcept
    : path_(std::move(other.path_)),
      map_(std::exchange(other.map_, nullptr)),
      bytes_(other.bytes_),
      entries_(std::move(other.entries_)) {}

const SafetensorsFile::Entry& SafetensorsFile::at(const std::string& name) const {
  const auto it = entries_.find(name);
  if (it == entries_.end()) throw UserError(cat(path_, ": tensor ", name, " is missing"));
  return it->second;
}

std::vector<float> SafetensorsFile::floats(const std::string& name) const {
  const Entry& entry = at(name);
  std::vector<float> values(static_cast<size_t>(entry.elements()));
  if (entry.dtype == "F32") {
    std::memcpy(values.data(), entry.bytes.data(), entry.bytes.size());
  } else if (entry.dtype == "BF16") {
    for (size_t i = 0; i < values.size(); ++i) {
      bfloat16 value;
      std::memcpy(&value.bits, entry.bytes.data() + 2 * i, 2);
      values[i] = value;
    }
  } else if (entry.dtype == "F64") {
    for (size_t i = 0; i < values.size(); ++i) {
      double value;
      std::memcpy(&value, entry.bytes.data() + 8 * i, 8);
      values[i] = static_cast<float>(value);
    }
  } else {
    throw UserError(cat(path_, ": tensor ", name, " is ", entry.dtype, "; F32, F64 or BF16 is needed"));
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
  nlohmann::json header = nlohmann::json::object();
  header["__metadata__"] = {{"format", "pt"}};
  uint64_t offset = 0;
  for (const auto& [name, value] : tensors) {
    const uint64_t bytes = value.values.size() * sizeof(float);
    header[name] = {{"dtype", "F32"}, {"shape", value.shape}, {"data_offsets", {offset, offset + bytes}}};
    offset += bytes;
  }
  std::string text = header.dump();
  text.resize((text.size() + 7) / 8 * 8, ' ');
  const uint64_t length = text.size();
  const std::string temporary = path + ".partial";
  std::ofstream out(temporary, std::ios::binary | std::ios::trunc);
  out.write(reinterpret_cast<const char*>(&length), 8);
  out.write(text.data(), static_cast<std::streamsize>(text.size()));
  for (const auto& [name, value] : tensors)
    out.write(reinterpret_cast<const char*>(value.values.data()),
              static_cast<std::streamsize>(value.values.size() * sizeof(float)));
  out.close();
  if (!out || std::rename(temporary.c_str(), path.c_str()) != 0)
    throw UserError(cat(path, ": cannot be written: ", std::strerror(errno)));
}

}  // namespace pscale
