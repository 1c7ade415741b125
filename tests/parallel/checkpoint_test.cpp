#include "parallel/checkpoint/checkpoint.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cmath>
#include <fstream>
#include <random>

#include "core/base/durable_file.h"
#include "core/base/errors.h"
#include "parallel/checkpoint/hdf5_file.h"
#include "parallel/checkpoint/slab.h"

namespace pscale {
namespace {

namespace fs = std::filesystem;

/// A few parameters of each kind of placement. Element i of the whole tensor is i, plus a number for its kind.
const std::vector<ParameterSpec> kSpecs = {
    {.name = "model.embed.weight", .shape = {13, 8}, .placement = {{Axis::tensor, 0}}},
    {.name = "model.norm.weight", .shape = {8}},
    {.name = "model.o.weight", .shape = {8, 12}, .placement = {{Axis::tensor, 1}}},
    {.name = "model.prefix", .shape = {4, 2, 3, 4}, .placement = {{Axis::replica, 0}, {Axis::tensor, 1}}},
    {.name = "model.score.weight", .shape = {6, 6, 4}, .placement = {{Axis::replica, 2}}, .file_shape = {6, 24}},
};

class Folder {
 public:
  Folder() : path_(fs::temp_directory_path() / cat("pscale_checkpoint_", getpid(), "_", ++made_)) {
    fs::create_directories(path_ / "shards");
  }
  ~Folder() { fs::remove_all(path_); }
  const fs::path& path() const { return path_; }

 private:
  static inline int made_ = 0;
  fs::path path_;
};

double value_of(StateKind kind, int64_t index) { return static_cast<double>(index) + 1000.0 * static_cast<double>(kind); }

template <class F>
void walk(const Shape& shape, const Hyperslab& slab, F&& f) {
  for (int64_t i = 0; i < elements_of(slab); ++i) {
    int64_t rest = i, index = 0, scale = 1;
    for (size_t dim = shape.size(); dim-- > 0;) {
      index += (slab.start[dim] + rest % slab.count[dim]) * scale;
      rest /= slab.count[dim];
      scale *= shape[dim];
    }
    f(index);
  }
}

/// The slab of a parameter that a rank of a layout owns.
Hyperslab owned(const ParameterSpec& spec, const Layout& layout, int64_t rank) {
  const Hyperslab slice = local_slab(spec.shape, spec.placement, layout, layout.coordinates_of(rank));
  const auto holders = layout.members(spec.placement.axes().complement(), rank);
  const auto me = std::find(holders.begin(), holders.end(), rank) - holders.begin();
  return within(slice, owner_piece(slice.count, static_cast<int64_t>(holders.size()), me));
}

/// Writes a checkpoint as the ranks of a layout would.
Manifest write(const fs::path& folder, const Layout& layout, DType dtype = DType::float32) {
  Manifest manifest;
  manifest.id = "0123456789ab";
  manifest.step = 7;
  manifest.layout = layout;
  manifest.model = "{}";
  manifest.config = "[run]\nseed = 1\n";
  for (const ParameterSpec& spec : kSpecs)
    manifest.tensors[spec.name] = {dtype, spec.shape, spec.file_shape.empty() ? spec.shape : spec.file_shape, true};
  for (int64_t rank = 0; rank < layout.world(); ++rank) {
    std::vector<SavedTensor> saved;
    for (const ParameterSpec& spec : kSpecs)
      for (const StateKind kind : kStateKinds) {
        const Hyperslab slab = owned(spec, layout, rank);
        if (elements_of(slab) == 0) continue;
        const DType type = kind == StateKind::weight ? dtype : DType::float32;
        SavedTensor tensor{kind, spec.name, type, slab, {}};
        walk(spec.shape, slab, [&](int64_t index) {
          dispatch_float(type, [&]<class T>(T) {
            const T value(static_cast<accumulate_t<T>>(value_of(kind, index)));
            const auto* bytes = reinterpret_cast<const std::byte*>(&value);
            tensor.bytes.insert(tensor.bytes.end(), bytes, bytes + sizeof value);
          });
        });
        saved.push_back(std::move(tensor));
      }
    manifest.files.push_back(write_shard(folder, shard_path(rank, manifest.id), saved));
  }
  write_whole_files(folder, manifest);
  return manifest;
}

const std::vector<Layout> kLayouts = {{1, 1, 1}, {2, 2, 2}, {1, 4, 2}, {3, 1, 1}, {1, 2, 1}};

TEST(Checkpoint, IsReadIntoAnyLayout) {
  const Device cpu = Device::cpu();
  for (const Layout& writer : kLayouts) {
    const Folder folder;
    write(folder.path(), writer);
    const Checkpoint checkpoint(folder.path());
    EXPECT_EQ(checkpoint.manifest().step, 7);
    EXPECT_EQ(checkpoint.manifest().layout, writer);
    checkpoint.verify();
    for (const Layout& reader : kLayouts)
      for (int64_t rank = 0; rank < reader.world(); ++rank) {
        std::vector<StateTensor> held;
        for (const ParameterSpec& spec : kSpecs)
          for (const StateKind kind : kStateKinds) {
            const Hyperslab slab = kind == StateKind::weight
                                       ? local_slab(spec.shape, spec.placement, reader, reader.coordinates_of(rank))
                                       : owned(spec, reader, rank);
            if (elements_of(slab) > 0)
              held.push_back({kind, &spec, slab, Tensor::zeros(cpu, slab.count, DType::float32)});
          }
        checkpoint.load(held);
        for (const StateTensor& h : held) {
          std::vector<double> expected;
          walk(h.spec->shape, h.slab, [&](int64_t index) { expected.push_back(value_of(h.kind, index)); });
          EXPECT_EQ(h.tensor.to_vector(), expected) << h.spec->name << " " << to_string(writer) << " " << to_string(reader);
        }
      }
  }
}

TEST(Checkpoint, ShowsWholeTensorsInTheShapeOfFiles) {
  for (const DType dtype : {DType::float32, DType::bfloat16})
    for (const Layout& writer : kLayouts) {
      const Folder folder;
      write(folder.path(), writer, dtype);
      CheckpointSource source(folder.path());
      ASSERT_EQ(source.tensors().size(), kSpecs.size());
      for (const ParameterSpec& spec : kSpecs) {
        const TensorSource::Info& info = source.tensors().at(spec.name);
        EXPECT_EQ(info.dtype, dtype);
        EXPECT_EQ(info.shape, spec.file_shape.empty() ? spec.shape : spec.file_shape);
        const int64_t row = elements_of(info.shape) / info.shape[0];
        const int64_t first = info.shape[0] > 1 ? 1 : 0, rows = info.shape[0] - first;
        std::vector<std::byte> bytes(static_cast<size_t>(rows * row * size_of(dtype)));
        source.read_rows(spec.name, first, rows, bytes.data());
        dispatch_float(dtype, [&]<class T>(T) {
          for (int64_t i = 0; i < rows * row; ++i) {
            T value;
            std::memcpy(&value, bytes.data() + i * size_of(dtype), sizeof value);
            EXPECT_EQ(static_cast<double>(value), static_cast<double>(T(static_cast<accumulate_t<T>>(first * row + i))));
          }
        });
      }
      Hdf5File moments(folder.path() / "optimizer.h5", Hdf5File::Mode::read);
      std::vector<float> values(8);
      moments.read_rows("/exp_avg_sq/model.norm.weight", DType::float32, 0, 8, values.data());
      EXPECT_EQ(values[5], 2005.0f);
    }
}

TEST(Checkpoint, AMissingShardIsNotANumberAndIsRefused) {
  const Folder folder;
  const Manifest manifest = write(folder.path(), {2, 1, 1});
  fs::remove(folder.path() / manifest.files[1].path);
  Hdf5File model(folder.path() / "model.h5", Hdf5File::Mode::read);
  std::vector<float> values(8);
  model.read_rows("/model.norm.weight", DType::float32, 0, 8, values.data());
  EXPECT_EQ(values[3], 3.0f);
  EXPECT_TRUE(std::isnan(values[4]));
  try {
    const Checkpoint checkpoint(folder.path());
    FAIL() << "was not refused";
  } catch (const UserError& e) {
    EXPECT_NE(std::string(e.what()).find(manifest.files[1].path), std::string::npos) << e.what();
  }
}

TEST(Checkpoint, DamageAnywhereIsFoundAndNamed) {
  const Folder folder;
  const Manifest manifest = write(folder.path(), {1, 2, 1});
  std::vector<std::string> files{kManifestName};
  for (const FileRecord& file : manifest.files) files.push_back(file.path);
  std::mt19937 random(3);
  for (const std::string& name : files) {
    const fs::path path = folder.path() / name;
    const std::string sound = read_file(path);
    for (int trial = 0; trial < 60; ++trial) {
      std::string damaged = sound;
      const size_t at = random() % sound.size();
      if (trial % 4 == 0) {
        damaged.resize(at);
      } else {
        damaged[at] = static_cast<char>(damaged[at] ^ (1 << random() % 8));
      }
      std::ofstream(path, std::ios::binary) << damaged;
      try {
        Checkpoint(folder.path()).verify();
        ADD_FAILURE() << name << " byte " << at << ": damage was not seen";
      } catch (const UserError& e) {
        EXPECT_NE(std::string(e.what()).find(path.filename().string()), std::string::npos) << e.what();
      }
    }
    std::ofstream(path, std::ios::binary) << sound;
  }
  Checkpoint(folder.path()).verify();
}

TEST(Checkpoint, OfAnotherModelIsRefusedByName) {
  const Folder folder;
  write(folder.path(), {1, 1, 1});
  const Device cpu = Device::cpu();
  const ParameterSpec other{.name = "model.other", .shape = {2}}, wider{.name = "model.norm.weight", .shape = {9}};
  const std::vector<StateTensor> held{
      {StateKind::weight, &other, {{0}, {2}}, Tensor::zeros(cpu, {2}, DType::float32)},
      {StateKind::weight, &wider, {{0}, {9}}, Tensor::zeros(cpu, {9}, DType::float32)}};
  try {
    Checkpoint(folder.path()).load(held);
    FAIL() << "was not refused";
  } catch (const UserError& e) {
    ASSERT_EQ(e.problems().size(), 2u);
    EXPECT_NE(e.problems()[0].find("model.other is missing"), std::string::npos);
    EXPECT_NE(e.problems()[1].find("[8]"), std::string::npos);
    EXPECT_NE(e.problems()[1].find("[9]"), std::string::npos);
  }
}

}  // namespace
}  // namespace pscale
