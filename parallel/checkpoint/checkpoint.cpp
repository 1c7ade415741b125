#include "parallel/checkpoint/checkpoint.h"

#include <algorithm>
#include <iomanip>
#include <sstream>

#include "core/base/durable_file.h"
#include "core/base/errors.h"
#include "parallel/checkpoint/hdf5_file.h"
#include "parallel/checkpoint/slab.h"

namespace pscale {

namespace fs = std::filesystem;

std::string shard_path(int64_t rank, const std::string& id) {
  std::ostringstream name;
  name << "shards/rank_" << std::setw(5) << std::setfill('0') << rank << "." << id << ".h5";
  return name.str();
}

namespace {

/// Writes the virtual datasets of one kind as GROUP + tensor name.
void write_kind(Hdf5File& file, const Manifest& manifest, StateKind kind, const std::string& group) {
  std::map<std::string, std::vector<VirtualPart>> parts;
  for (const FileRecord& shard : manifest.files)
    for (const DatasetRecord& d : shard.datasets)
      if (d.kind == kind) parts[d.tensor].push_back({shard.path, "/" + d.path(), d.slab});
  for (const auto& [name, list] : parts) {
    const TensorRecord& tensor = manifest.tensor(name);
    const DType dtype = kind == StateKind::weight || tensor.dtype == DType::float64 ? tensor.dtype : DType::float32;
    file.write_virtual(group + name, dtype, tensor.shape, tensor.file_shape, list);
  }
}

}  // namespace

void write_whole_files(const fs::path& folder, Manifest& manifest, const CarriedFiles& carried) {
  const Manifest shards = manifest;
  const auto write = [&](const char* name, auto&& fill) {
    Hdf5File file(folder / name, Hdf5File::Mode::create);
    fill(file);
    file.close();
  };
  write("model.h5", [&](Hdf5File& file) { write_kind(file, shards, StateKind::weight, ""); });
  write("optimizer.h5", [&](Hdf5File& file) {
    for (const StateKind kind : {StateKind::exp_avg, StateKind::exp_avg_sq})
      write_kind(file, shards, kind, cat(name_of(kind), "/"));
  });
  for (const char* name : {"model.h5", "optimizer.h5"}) {
    sync_file(folder / name);
    manifest.files.push_back(record_of(folder, name));
  }
  for (const auto& [path, content] : carried) {
    make_folder_durably((folder / path).parent_path());
    write_file_durably(folder / path, content);
    manifest.files.push_back(record_of(folder, path));
  }
  sync_folder(folder / "shards");
  write_file_durably(folder / kManifestName, to_json(manifest));
}

Checkpoint::Checkpoint(fs::path folder) : folder_(std::move(folder)), manifest_(read_manifest(folder_)) {
  std::vector<std::string> problems;
  for (const FileRecord& file : manifest_.files) {
    const fs::path path = folder_ / file.path;
    std::error_code error;
    const auto bytes = fs::file_size(path, error);
    if (error) {
      problems.push_back(cat(path.string(), ": ", error.message(), "; the checkpoint needs it"));
    } else if (static_cast<int64_t>(bytes) != file.bytes) {
      problems.push_back(cat(path.string(), ": damaged: it has ", bytes, " bytes, the manifest says ", file.bytes));
    }
  }
  if (!problems.empty()) throw UserError(std::move(problems));
}

int64_t Checkpoint::bytes() const {
  int64_t total = 0;
  for (const FileRecord& file : manifest_.files) total += file.bytes;
  return total;
}

void Checkpoint::load(const std::vector<StateTensor>& held, const std::function<void()>& between) const {
  std::vector<std::string> problems;
  std::map<std::pair<StateKind, std::string>, std::vector<size_t>> wanted;
  for (size_t i = 0; i < held.size(); ++i) {
    const StateTensor& h = held[i];
    const auto it = manifest_.tensors.find(h.spec->name);
    if (it == manifest_.tensors.end()) {
      problems.push_back(cat(folder_.string(), ": tensor ", h.spec->name, " is missing"));
    } else if (it->second.shape != h.spec->shape) {
      problems.push_back(cat(folder_.string(), ": tensor ", h.spec->name, " has shape ", to_string(it->second.shape),
                             ", the configuration makes it ", to_string(h.spec->shape)));
    } else {
      wanted[{h.kind, h.spec->name}].push_back(i);
    }
  }
  if (!problems.empty()) throw UserError(std::move(problems));

  std::vector<int64_t> filled(held.size());
  for (const FileRecord& file : manifest_.files) {
    std::unique_ptr<ShardReader> reader;  // opened when something in it is wanted
    for (const DatasetRecord& d : file.datasets) {
      std::vector<size_t> here;
      if (const auto it = wanted.find({d.kind, d.tensor}); it != wanted.end())
        for (const size_t i : it->second)
          if (intersection(d.slab, held[i].slab)) here.push_back(i);
      if (here.empty()) continue;
      if (between) between();
      if (!reader) reader = std::make_unique<ShardReader>(folder_, file);
      reader->read(d, [&](int64_t first, int64_t count, const void* elements) {
        for (const size_t i : here)
          filled[i] += copy_range(d.slab, first, count, elements, d.dtype, held[i].slab, held[i].tensor.address(),
                                  held[i].tensor.dtype());
      });
    }
  }
  for (size_t i = 0; i < held.size(); ++i)
    if (filled[i] != elements_of(held[i].slab))
      problems.push_back(cat(folder_.string(), ": ", name_of(held[i].kind), "/", held[i].spec->name, ": ", filled[i], " of ",
                             elements_of(held[i].slab), " elements are in its shards"));
  if (!problems.empty()) throw UserError(std::move(problems));
}

void Checkpoint::verify(const std::function<void(int64_t, int64_t)>& progress) const {
  int64_t total = 0;
  for (const FileRecord& file : manifest_.files)
    for (const DatasetRecord& d : file.datasets) total += d.bytes;
  int64_t done = 0;
  std::vector<std::string> problems;
  for (const FileRecord& file : manifest_.files) {
    try {
      const ShardReader reader(folder_, file);
      for (const DatasetRecord& d : file.datasets) {
        try {
          reader.read(d, [&](int64_t, int64_t count, const void*) {
            done += count * size_of(d.dtype);
            if (progress) progress(done, total);
          });
        } catch (const UserError& e) {
          problems.insert(problems.end(), e.problems().begin(), e.problems().end());
        }
      }
    } catch (const UserError& e) {
      problems.insert(problems.end(), e.problems().begin(), e.problems().end());
    }
  }
  if (!problems.empty()) throw UserError(std::move(problems));
}

CheckpointSource::CheckpointSource(const fs::path& folder, bool check)
    : path_(folder.string()), checkpoint_(folder) {
  const Manifest& manifest = checkpoint_.manifest();
  for (const auto& [name, t] : manifest.tensors)
    tensors_[name] = {t.dtype, t.file_shape, (folder / "model.h5").string()};
  for (const FileRecord& file : manifest.files) {
    if (!check) break;
    const ShardReader reader(folder, file);
    for (const DatasetRecord& d : file.datasets)
      if (d.kind == StateKind::weight) reader.read(d, [](int64_t, int64_t, const void*) {});
  }
  model_ = std::make_unique<Hdf5File>(folder / "model.h5", Hdf5File::Mode::read);
}

CheckpointSource::~CheckpointSource() = default;

void CheckpointSource::read_rows(const std::string& name, int64_t first, int64_t count, void* out) {
  model_->read_rows("/" + name, tensors_.at(name).dtype, first, count, out);
}

}  // namespace pscale
