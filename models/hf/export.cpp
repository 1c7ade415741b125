#include "models/hf/export.h"

#include <algorithm>
#include <filesystem>
#include <iomanip>
#include <nlohmann/json.hpp>

#include "core/base/durable_file.h"
#include "core/base/errors.h"
#include "models/hf/export_config.h"
#include "models/hf/export_tokenizer.h"
#include "models/hf/python_files.h"
#include "models/hf/safetensors_writer.h"
#include "models/hf/tensor_list.h"

namespace pscale {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

namespace {

constexpr int64_t kBlockBytes = int64_t{4} << 20;

/// The folder while it is being written; removed unless it got its name.
class PartialFolder {
 public:
  explicit PartialFolder(const fs::path& out) : out_(out), partial_(out.string() + ".partial") {
    std::error_code failed;
    fs::remove_all(partial_, failed);  // what an interrupted conversion left
    if (!failed) fs::create_directories(partial_, failed);
    if (failed) throw UserError(cat(partial_.string(), ": cannot be made: ", failed.message()));
  }
  ~PartialFolder() {
    std::error_code ignored;
    if (!published_) fs::remove_all(partial_, ignored);
  }
  PartialFolder(const PartialFolder&) = delete;
  PartialFolder& operator=(const PartialFolder&) = delete;

  std::string file(const std::string& name) const { return (partial_ / name).string(); }
  std::string path() const { return partial_.string(); }
  void publish() {
    sync_folder(partial_);
    rename_durably(partial_, out_);
    published_ = true;
  }

 private:
  fs::path out_, partial_;
  bool published_ = false;
};

/// Without a slash at the end, which would make the sibling a child. Refuses what is already there.
fs::path checked_target(const std::string& out) {
  if (out.empty()) throw UserError("the folder to write is not named");
  fs::path target = fs::path(out).lexically_normal();
  if (!target.has_filename()) target = target.parent_path();
  std::error_code ignored;
  if (fs::exists(fs::symlink_status(target, ignored)) &&
      !(fs::is_directory(target) && !fs::is_symlink(target) && fs::is_empty(target)))
    throw UserError(cat(out, ": exists and is not an empty folder; name another one, or remove it first"));
  return target;
}

using Item = SafetensorsWriter::Item;

/// The tensors in the order the model uses them, in files of at most `most` bytes.
std::vector<std::vector<Item>> plan_files(const TensorSource& source, const ModelConfig& config,
                                          const std::optional<DType>& dtype, int64_t most) {
  std::vector<std::vector<Item>> files(1);
  int64_t bytes = 0;
  for (const ParameterSpec& spec : declared_parameters(config)) {
    const TensorSource::Info& info = source.tensors().at(spec.name);
    Item item{spec.name, dtype.value_or(info.dtype), info.shape};
    if (bytes > 0 && bytes + item.bytes() > most) files.emplace_back(), bytes = 0;
    bytes += item.bytes();
    files.back().push_back(std::move(item));
  }
  return files;
}

void convert_values(const void* from, DType type, void* to, DType wanted, int64_t count) {
  dispatch_float(type, [&]<class From>(From) {
    dispatch_float(wanted, [&]<class To>(To) {
      const From* in = static_cast<const From*>(from);
      // By way of float32, as torch does.
      std::transform(in, in + count, static_cast<To*>(to),
                     [](From v) { return static_cast<To>(static_cast<float>(v)); });
    });
  });
}

class TensorCopier {
 public:
  TensorCopier(TensorSource& source, int64_t total, const ExportOptions& options)
      : source_(&source), total_(total), options_(&options) {}

  void copy(const Item& item, SafetensorsWriter& out) {
    const DType stored = source_->tensors().at(item.name).dtype;
    PSCALE_CHECK(!item.shape.empty(), item.name, " has no dims");
    const int64_t rows = item.shape[0], width = rows == 0 ? 0 : item.bytes() / size_of(item.dtype) / rows;
    const int64_t widest = std::max(size_of(stored), size_of(item.dtype));
    const int64_t block = std::max<int64_t>(1, kBlockBytes / std::max<int64_t>(1, width * widest));
    for (int64_t row = 0; row < rows; row += block) {
      const int64_t count = std::min(block, rows - row), elements = count * width;
      read_.resize(static_cast<size_t>(elements * size_of(stored)));
      source_->read_rows(item.name, row, count, read_.data());
      const std::vector<char>* ready = &read_;
      if (stored != item.dtype) {
        converted_.resize(static_cast<size_t>(elements * size_of(item.dtype)));
        convert_values(read_.data(), stored, converted_.data(), item.dtype, elements);
        ready = &converted_;
      }
      out.write(ready->data(), ready->size());
      written_ += static_cast<int64_t>(ready->size());
      if (options_->progress) options_->progress(written_, total_);
    }
  }

 private:
  TensorSource* source_;
  int64_t total_, written_ = 0;
  const ExportOptions* options_;
  std::vector<char> read_, converted_;
};

int64_t bytes_of(const std::vector<Item>& items) {
  int64_t bytes = 0;
  for (const Item& item : items) bytes += item.bytes();
  return bytes;
}

void check_space(const fs::path& folder, int64_t bytes) {
  std::error_code unknown;
  const fs::space_info space = fs::space(folder, unknown);
  if (!unknown && space.available < static_cast<uint64_t>(bytes))
    throw UserError(cat(folder.string(), ": ", bytes >> 20, " MiB of tensors do not fit: ", space.available >> 20,
                        " MiB are free"));
}

std::string part_name(size_t part, size_t parts) {
  if (parts == 1) return "model.safetensors";
  std::ostringstream name;
  name << std::setfill('0') << "model-" << std::setw(5) << part + 1 << "-of-" << std::setw(5) << parts
       << ".safetensors";
  return name.str();
}

void write_tensors(TensorSource& source, const std::vector<std::vector<Item>>& files, const PartialFolder& folder,
                   const ExportOptions& options) {
  int64_t total = 0;
  for (const auto& items : files) total += bytes_of(items);
  check_space(folder.path(), total);
  TensorCopier copier(source, total, options);
  Json index = {{"metadata", {{"total_size", total}}}, {"weight_map", Json::object()}};
  std::map<std::string, std::string> places;
  for (size_t part = 0; part < files.size(); ++part) {
    const std::string name = part_name(part, files.size());
    SafetensorsWriter writer(folder.file(name), files[part]);
    for (const Item& item : writer.items()) {
      copier.copy(item, writer);
      places[item.name] = name;
    }
    writer.publish();
  }
  if (files.size() == 1) return;
  for (const auto& [tensor, name] : places) index["weight_map"][tensor] = name;
  write_file_durably(folder.file("model.safetensors.index.json"), index.dump(2) + "\n");
}

/// Ids of special tokens: of the byte tokenizer, or those of the folder this model is like.
Json special_ids(const ExportOptions& options) {
  Json ids = Json::object();
  if (options.tokenizer == "bytes") {
    for (const char* key : {"eos_token_id", "pad_token_id"}) ids[key] = kByteEndOfDocument;
    return ids;
  }
  const fs::path config = fs::path(options.like) / "config.json";
  const Json json = options.like.empty() || !fs::is_regular_file(config) ? Json() : Json::parse(read_file(config), nullptr, false);
  for (const char* key : {"bos_token_id", "eos_token_id", "pad_token_id"})
    if (json.is_object() && json.contains(key) && !json[key].is_null()) ids[key] = json[key];
  if (options.end_of_document) ids["eos_token_id"] = *options.end_of_document;
  return ids;
}

void write_configs(const ModelConfig& config, DType dtype, const PartialFolder& folder, const ExportOptions& options) {
  const Json ids = special_ids(options);
  Json json = export_config(config, dtype);
  json.update(ids);
  write_file_durably(folder.file("config.json"), json.dump(2) + "\n");

  const fs::path given = fs::path(options.like) / "generation_config.json";
  const bool kept = !options.like.empty() && options.tokenizer != "bytes" && fs::is_regular_file(given);
  Json generation = {{"_from_model_config", true}};
  generation.update(ids);
  write_file_durably(folder.file("generation_config.json"), kept ? read_file(given) : generation.dump(2) + "\n");

  if (export_family(config) != ExportFamily::parscale) return;
  PSCALE_CHECK(!python_files().empty(), "this build has no Python model file");
  for (const PythonFile& file : python_files()) write_file_durably(folder.file(std::string(file.name)), file.text);
}

}  // namespace

void export_hf(TensorSource& source, const ModelConfig& config, const std::string& out, const ExportOptions& options) {
  PSCALE_CHECK(options.max_shard_bytes > 0, "files of ", options.max_shard_bytes, " bytes");
  check_tensors(source, config);
  if (options.tokenizer == "bytes" && config.vocab_size <= kByteEndOfDocument)
    throw UserError(cat(source.path(), ": its vocabulary of ", config.vocab_size,
                        " tokens is not that of the byte tokenizer, which has ", kByteEndOfDocument + 1));
  const fs::path target = checked_target(out);
  const auto files = plan_files(source, config, options.dtype, options.max_shard_bytes);
  PartialFolder folder(target);
  if (options.tokenizer == "bytes") {
    write_byte_tokenizer(folder.path());
  } else if (!options.tokenizer.empty()) {
    copy_tokenizer(options.tokenizer, folder.path());
  }
  write_configs(config, files.front().front().dtype, folder, options);
  write_tensors(source, files, folder, options);
  folder.publish();
}

}  // namespace pscale
