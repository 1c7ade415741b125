#include "launch/bench/checkpoint.h"

#include <fcntl.h>
#include <unistd.h>

#include <chrono>
#include <cstring>

#include "core/base/durable_file.h"
#include "core/base/hash.h"
#include "launch/checkpoint/checkpoint_folder.h"
#include "parallel/checkpoint/checkpoint.h"
#include "parallel/comm/texts.h"

namespace pscale {

namespace fs = std::filesystem;

namespace {

constexpr Purpose kBench{"bench"};
constexpr size_t kBlock = size_t{2} << 20;

double now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

void check(bool good, const fs::path& path) {
  if (!good) throw UserError(cat(path.string(), ": ", std::strerror(errno)));
}

void forget(const fs::path& path) {
  const int file = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  check(file >= 0, path);
  posix_fadvise(file, 0, 0, POSIX_FADV_DONTNEED);
  close(file);
}

void write_plain(const fs::path& path, const std::vector<SavedTensor>& state) {
  const int file = open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
  check(file >= 0, path);
  for (const SavedTensor& t : state) {
    hash_of(t.bytes.data(), t.bytes.size());
    for (size_t done = 0; done < t.bytes.size();) {
      const ssize_t n = write(file, t.bytes.data() + done, t.bytes.size() - done);
      check(n > 0, path);
      done += static_cast<size_t>(n);
    }
  }
  check(fsync(file) == 0, path);
  close(file);
}

uint64_t read_plain(const fs::path& path, std::vector<SavedTensor>& state) {
  const int file = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  check(file >= 0, path);
  uint64_t all = 0;
  for (SavedTensor& t : state) {
    Hash hash;
    for (size_t done = 0; done < t.bytes.size();) {
      const ssize_t n = read(file, t.bytes.data() + done, std::min(kBlock, t.bytes.size() - done));
      check(n > 0, path);
      hash.add(t.bytes.data() + done, static_cast<size_t>(n));
      done += static_cast<size_t>(n);
    }
    all ^= hash.value();
  }
  close(file);
  return all;
}

}  // namespace

CheckpointTimes time_checkpoint(Training& training, const Mesh& mesh, const fs::path& folder) {
  Communicator& world = mesh.group(AxisSet::all());
  const bool root = mesh.rank() == 0;
  std::vector<SavedTensor> state = copy_state(owned_state(training.parameters(), training.optimizer()));
  CheckpointTimes times;
  for (const SavedTensor& t : state) times.bytes += static_cast<double>(t.bytes.size());
  world.all_reduce(&times.bytes, 1, DType::float64, Reduction::sum, kBench).wait();
  const auto timed = [&](auto&& work) {
    world.barrier();
    const double start = now();
    work();
    world.barrier();
    return now() - start;
  };

  const fs::path plain = folder / cat("plain_", mesh.rank());
  times.plain_write = timed([&] { write_plain(plain, state); });
  forget(plain);
  times.plain_read = timed([&] { read_plain(plain, state); });
  fs::remove(plain);

  const CheckpointFolder checkpoints(folder / "checkpoints");
  Manifest manifest;
  manifest.id = "benchmark";
  manifest.model = "{}";
  manifest.layout = mesh.layout();
  for (const Parameter& p : training.parameters().all()) {
    const ParameterSpec& spec = p.spec();
    manifest.tensors[spec.name] = {training.parameters().dtype(), spec.shape,
                                   spec.file_shape.empty() ? spec.shape : spec.file_shape, p.trainable()};
  }
  times.save = timed([&] {
    checkpoints.begin(1, manifest.id);
    const fs::path writing = checkpoints.being_written(1, manifest.id);
    const FileRecord own = write_shard(writing, shard_path(mesh.rank(), manifest.id), state);
    for (const std::string& record : gather_texts(world, to_json(own), kBench))
      manifest.files.push_back(file_record_from_json(record));
    if (root) {
      write_whole_files(writing, manifest);
      checkpoints.commit(1, manifest.id);
    }
  });
  const fs::path saved = checkpoints.path() / checkpoint_name(1);
  forget(saved / shard_path(mesh.rank(), manifest.id));
  times.load = timed([&] { Checkpoint(saved).load(held_state(training.parameters(), training.optimizer())); });
  world.barrier();
  if (root) fs::remove_all(checkpoints.path());
  return times;
}

}  // namespace pscale
