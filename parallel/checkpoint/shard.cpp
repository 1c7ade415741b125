#include "parallel/checkpoint/shard.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "core/base/durable_file.h"
#include "core/base/errors.h"
#include "core/base/hash.h"
#include "parallel/checkpoint/hdf5_file.h"
#include "parallel/checkpoint/slab.h"

namespace pscale {

namespace {

// What is written is brought to the disk in pieces: one wait for all of a large shard would look like a run that stands still.
constexpr int64_t kSyncBytes = int64_t{1} << 30;
constexpr int64_t kBufferBytes = int64_t{2} << 20;

/// The runs of a file that lie in no dataset: [begin, end), in order.
std::vector<std::pair<int64_t, int64_t>> gaps(const FileRecord& record) {
  std::vector<std::pair<int64_t, int64_t>> used;
  for (const DatasetRecord& d : record.datasets) used.emplace_back(d.offset, d.offset + d.bytes);
  std::sort(used.begin(), used.end());
  std::vector<std::pair<int64_t, int64_t>> free;
  int64_t at = 0;
  for (const auto& [begin, end] : used) {
    if (begin > at) free.emplace_back(at, begin);
    at = std::max(at, end);
  }
  if (at < record.bytes) free.emplace_back(at, record.bytes);
  return free;
}

int open_to_read(const std::filesystem::path& path) {
  const int file = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (file < 0) throw UserError(cat(path.string(), ": cannot be opened: ", std::strerror(errno)));
  return file;
}

void read_bytes(int file, const std::filesystem::path& path, int64_t offset, int64_t bytes, void* out) {
  auto* to = static_cast<char*>(out);
  for (int64_t done = 0; done < bytes;) {
    const ssize_t n = pread(file, to + done, static_cast<size_t>(bytes - done), offset + done);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0)
      throw UserError(cat(path.string(), ": cannot be read at byte ", offset + done, ": ",
                          n == 0 ? "the file ends there" : std::strerror(errno)));
    done += n;
  }
}

uint64_t structure_hash(int file, const std::filesystem::path& path, const FileRecord& record) {
  Hash hash;
  std::vector<char> buffer(static_cast<size_t>(kBufferBytes));
  for (auto [begin, end] : gaps(record))
    for (; begin < end; begin += kBufferBytes) {
      const int64_t n = std::min(kBufferBytes, end - begin);
      read_bytes(file, path, begin, n, buffer.data());
      hash.add(buffer.data(), static_cast<size_t>(n));
    }
  return hash.value();
}

/// Fills in what only the finished file tells.
void finish(FileRecord& record, const std::filesystem::path& path) {
  record.bytes = static_cast<int64_t>(std::filesystem::file_size(path));
  const int file = open_to_read(path);
  try {
    record.structure = structure_hash(file, path, record);
  } catch (...) {
    close(file);
    throw;
  }
  close(file);
}

}  // namespace

std::vector<SavedTensor> copy_state(const std::vector<StateTensor>& state) {
  std::vector<SavedTensor> saved;
  saved.reserve(state.size());
  for (const StateTensor& s : state) {
    SavedTensor copy{s.kind, s.spec->name, s.tensor.dtype(), s.slab, {}};
    copy.bytes.reserve(static_cast<size_t>(s.tensor.bytes()));
    const int64_t row = s.tensor.columns() * size_of(s.tensor.dtype());
    const int64_t stride = s.tensor.row_stride() * size_of(s.tensor.dtype());
    const auto* from = static_cast<const std::byte*>(s.tensor.address());
    if (s.tensor.contiguous()) {
      copy.bytes.insert(copy.bytes.end(), from, from + s.tensor.bytes());
    } else {
      for (int64_t r = 0; r < s.tensor.rows(); ++r)
        copy.bytes.insert(copy.bytes.end(), from + r * stride, from + r * stride + row);
    }
    saved.push_back(std::move(copy));
  }
  return saved;
}

FileRecord write_shard(const std::filesystem::path& folder, const std::string& path,
                       const std::vector<SavedTensor>& tensors) {
  FileRecord record{.path = path};
  const std::filesystem::path file = folder / path;
  {
    Hdf5File shard(file, Hdf5File::Mode::create);
    int64_t unsynced = 0;
    for (const SavedTensor& t : tensors) {
      DatasetRecord dataset{.kind = t.kind, .tensor = t.name, .dtype = t.dtype, .slab = t.slab};
      dataset.bytes = static_cast<int64_t>(t.bytes.size());
      dataset.hash = hash_of(t.bytes.data(), t.bytes.size());
      shard.write(dataset.path(), t.dtype, t.slab.count, t.bytes.data());
      dataset.offset = shard.offset(dataset.path());
      unsynced += dataset.bytes;
      record.datasets.push_back(std::move(dataset));
      if (unsynced >= kSyncBytes) {
        sync_file(file);
        unsynced = 0;
      }
    }
    shard.close();
  }
  sync_file(file);
  finish(record, file);
  return record;
}

FileRecord record_of(const std::filesystem::path& folder, const std::string& path) {
  FileRecord record{.path = path};
  finish(record, folder / path);
  return record;
}

ShardReader::ShardReader(const std::filesystem::path& folder, const FileRecord& record)
    : path_(folder / record.path), record_(&record), file_(open_to_read(path_)) {
  try {
    struct stat info {};
    if (fstat(file_, &info) != 0) throw UserError(cat(path_.string(), ": ", std::strerror(errno)));
    if (info.st_size != record.bytes)
      throw UserError(cat(path_.string(), ": damaged: it has ", info.st_size, " bytes, the manifest says ", record.bytes));
    if (structure_hash(file_, path_, record) != record.structure)
      throw UserError(cat(path_.string(), ": damaged: its structure does not have the hash in the manifest"));
  } catch (...) {
    close(file_);
    throw;
  }
}

ShardReader::~ShardReader() { close(file_); }

void ShardReader::read(const DatasetRecord& dataset, const Part& part) const {
  const int64_t width = size_of(dataset.dtype);
  std::vector<char> buffer(static_cast<size_t>(std::min(kBufferBytes, dataset.bytes)));
  Hash hash;
  for (int64_t at = 0; at < dataset.bytes; at += kBufferBytes) {
    const int64_t n = std::min(kBufferBytes, dataset.bytes - at);
    read_bytes(file_, path_, dataset.offset + at, n, buffer.data());
    hash.add(buffer.data(), static_cast<size_t>(n));
    part(at / width, n / width, buffer.data());
  }
  if (hash.value() != dataset.hash)
    throw UserError(cat(path_.string(), ": damaged: tensor ", dataset.path(), " does not have the hash in the manifest"));
}

}  // namespace pscale
