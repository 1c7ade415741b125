#include "models/hf/hf_folder.h"

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>

#include "core/base/durable_file.h"
#include "core/base/errors.h"
#include "models/hf/tensor_list.h"

namespace pscale {

namespace fs = std::filesystem;

namespace {

/// Rotary frequencies, of positions or of replicas: they follow from config.json.
bool is_known_buffer(const std::string& name) { return name.ends_with("rotary_emb.inv_freq"); }

std::optional<DType> type_of(const std::string& dtype) {
  if (dtype == "F32" || dtype == "F16") return DType::float32;
  if (dtype == "BF16") return DType::bfloat16;
  if (dtype == "F64") return DType::float64;
  return std::nullopt;
}

/// What a folder without safetensors has instead, for the message.
std::string other_weights(const fs::path& folder) {
  for (const char* name : {"pytorch_model.bin", "pytorch_model.bin.index.json"})
    if (fs::exists(folder / name))
      return cat("; it has ", name, ": load and save it with transformers, which writes safetensors");
  return "; it needs model.safetensors, or model.safetensors.index.json and the files that it names";
}

/// weight_map of an index: tensor -> file name.
std::map<std::string, std::string> read_index(const std::string& index) {
  const nlohmann::json json = nlohmann::json::parse(read_file(index), nullptr, false);
  const auto wrong = [&](const std::string& what) { return UserError(cat(index, ": ", what)); };
  if (!json.is_object() || !json.contains("weight_map") || !json["weight_map"].is_object())
    throw wrong("is not an index of safetensors files (it has no weight_map)");
  std::map<std::string, std::string> map;
  for (const auto& [name, file] : json["weight_map"].items()) {
    if (!file.is_string()) throw wrong(cat("tensor ", name, " names no file"));
    map[name] = file.get<std::string>();
    if (fs::path(map[name]).has_parent_path())
      throw wrong(cat("tensor ", name, " names ", map[name], "; the files of a model lie beside its index"));
  }
  if (map.empty()) throw wrong("names no tensors");
  return map;
}

}  // namespace

bool is_hf_folder(const std::string& path) { return fs::is_regular_file(fs::path(path) / "config.json"); }

HfFolder::HfFolder(const std::string& path) : path_(path) {
  const fs::path folder = path;
  config_ = read_model_config((folder / "config.json").string());
  const std::string index = (folder / "model.safetensors.index.json").string();
  const std::string single = (folder / "model.safetensors").string();
  if (fs::exists(index)) {
    open_index(index);
  } else if (fs::exists(single)) {
    open_single(single);
  } else {
    throw UserError(cat(path, ": has no weights", other_weights(folder)));
  }
  if (config_.tie_word_embeddings) drop_tied_head();
}

void HfFolder::take(const std::string& name, size_t file, std::vector<std::string>& problems) {
  const SafetensorsFile& stored = files_[file];
  if (is_known_buffer(name)) return;
  const SafetensorsFile::Entry& entry = stored.at(name);
  const auto dtype = type_of(entry.dtype);
  if (!dtype) {
    problems.push_back(cat(stored.path(), ": tensor ", name, " is ", entry.dtype,
                           ", which is no type of weights here; store it as F32, BF16, F16 or F64"));
    return;
  }
  places_[name] = file;
  tensors_[name] = {*dtype, entry.shape, stored.path()};
}

void HfFolder::open_single(const std::string& file) {
  files_.emplace_back(file);
  std::vector<std::string> problems;
  for (const auto& [name, entry] : files_[0].entries()) take(name, 0, problems);
  if (!problems.empty()) throw UserError(std::move(problems));
}

void HfFolder::open_index(const std::string& index) {
  const auto map = read_index(index);
  std::map<std::string, std::vector<std::string>> by_file;
  for (const auto& [name, file] : map) by_file[file].push_back(name);
  std::vector<std::string> problems;
  for (const auto& [file, names] : by_file) {
    const std::string path = (fs::path(path_) / file).string();
    if (!fs::exists(path)) {
      problems.push_back(cat(path, ": is missing; ", index, " says that it holds ", names_of(names)));
      continue;
    }
    try {
      files_.emplace_back(path);
    } catch (const UserError& broken) {
      problems.insert(problems.end(), broken.problems().begin(), broken.problems().end());
      continue;
    }
    const SafetensorsFile& stored = files_.back();
    std::vector<std::string> absent;
    for (const std::string& name : names) {
      if (stored.contains(name)) {
        take(name, files_.size() - 1, problems);
      } else {
        absent.push_back(name);
      }
    }
    if (!absent.empty())
      problems.push_back(cat(path, ": lacks ", names_of(absent), ", which ", index, " places there"));
    for (const auto& [name, entry] : stored.entries()) {
      const auto place = map.find(name);
      if (place == map.end()) {
        problems.push_back(cat(path, ": holds tensor ", name, ", which ", index, " does not name"));
      } else if (place->second != file) {
        problems.push_back(cat(path, ": holds tensor ", name, ", which ", index, " places in ", place->second));
      }
    }
  }
  if (problems.size() > kNamesShown) {
    const size_t more = problems.size() - kNamesShown;
    problems.resize(kNamesShown);
    problems.push_back(cat(path_, ": and ", more, " more problems of this kind"));
  }
  if (!problems.empty()) throw UserError(std::move(problems));
}

void HfFolder::drop_tied_head() {
  const std::string embedding = "model.embed_tokens.weight", head = "lm_head.weight";
  const auto e = tensors_.find(embedding), h = tensors_.find(head);
  if (e == tensors_.end() || h == tensors_.end()) return;
  const SafetensorsFile &ef = files_[places_.at(embedding)], &hf = files_[places_.at(head)];
  const SafetensorsFile::Entry &ee = ef.at(embedding), &he = hf.at(head);
  bool same = ee.dtype == he.dtype && ee.shape == he.shape;
  constexpr uint64_t piece = uint64_t{4} << 20;
  std::vector<char> a(piece), b(piece);
  for (uint64_t at = 0; same && at < ee.bytes.size(); at += piece) {
    const uint64_t count = std::min<uint64_t>(piece, ee.bytes.size() - at);
    ef.read(embedding, at, count, a.data());
    hf.read(head, at, count, b.data());
    same = std::memcmp(a.data(), b.data(), count) == 0;
  }
  if (!same)
    throw UserError(cat(h->second.file, ": tensor ", head, " differs from ", embedding, ", but ", path_,
                        "/config.json says tie_word_embeddings = true; set it to false there to keep both"));
  places_.erase(head);
  tensors_.erase(head);
}

void HfFolder::read_rows(const std::string& name, int64_t first, int64_t count, void* out) {
  const auto place = places_.find(name);
  if (place == places_.end()) throw UserError(cat(path_, ": tensor ", name, " is missing"));
  const SafetensorsFile& file = files_[place->second];
  const SafetensorsFile::Entry& entry = file.at(name);
  PSCALE_CHECK(!entry.shape.empty() && first >= 0 && first + count <= entry.shape[0], name, ": rows ", first, " + ",
               count);
  if (count == 0) return;
  const uint64_t row = entry.bytes.size() / static_cast<uint64_t>(entry.shape[0]);
  const uint64_t begin = row * static_cast<uint64_t>(first), bytes = row * static_cast<uint64_t>(count);
  if (entry.dtype != "F16") return file.read(name, begin, bytes, out);
  std::vector<uint16_t> halves(bytes / 2);
  file.read(name, begin, bytes, halves.data());
  std::transform(halves.begin(), halves.end(), static_cast<float*>(out), half_to_float);
}

}  // namespace pscale
