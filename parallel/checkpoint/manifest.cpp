#include "parallel/checkpoint/manifest.h"

#include <nlohmann/json.hpp>

#include "core/base/durable_file.h"
#include "core/base/errors.h"
#include "core/base/hash.h"

namespace pscale {

using Json = nlohmann::ordered_json;

namespace {

constexpr std::string_view kSelfHash = ",\n\"xxh3\": \"";  // then 16 digits, then kEnd
constexpr std::string_view kEnd = "\"}\n";

DType dtype_from(const std::string& name) {
  for (const DType dtype : {DType::float32, DType::bfloat16, DType::float64, DType::int32})
    if (name == name_of(dtype)) return dtype;
  throw UserError(cat("dtype ", name, " is unknown"));
}

StateKind kind_from(const std::string& name) {
  for (const StateKind kind : kStateKinds)
    if (name == name_of(kind)) return kind;
  throw UserError(cat("kind ", name, " is unknown"));
}

uint64_t hash_from(const std::string& text) {
  size_t used = 0;
  const uint64_t value = std::stoull(text, &used, 16);
  if (used != 16 || text.size() != 16) throw UserError(cat("\"", text, "\" is no hash"));
  return value;
}

Json json_of(const FileRecord& file) {
  Json json = {{"path", file.path}, {"bytes", file.bytes}, {"structure_xxh3", to_hex(file.structure)}};
  json["datasets"] = Json::array();
  for (const DatasetRecord& d : file.datasets)
    json["datasets"].push_back({{"kind", name_of(d.kind)},
                                {"tensor", d.tensor},
                                {"dtype", name_of(d.dtype)},
                                {"start", d.slab.start},
                                {"count", d.slab.count},
                                {"offset", d.offset},
                                {"bytes", d.bytes},
                                {"xxh3", to_hex(d.hash)}});
  return json;
}

FileRecord file_from(const Json& json) {
  FileRecord file{.path = json.at("path"), .bytes = json.at("bytes"), .structure = hash_from(json.at("structure_xxh3"))};
  for (const Json& d : json.at("datasets"))
    file.datasets.push_back({.kind = kind_from(d.at("kind")),
                             .tensor = d.at("tensor"),
                             .dtype = dtype_from(d.at("dtype")),
                             .slab = {d.at("start"), d.at("count")},
                             .offset = d.at("offset"),
                             .bytes = d.at("bytes"),
                             .hash = hash_from(d.at("xxh3"))});
  return file;
}

Manifest manifest_from(const Json& json) {
  Manifest m;
  m.id = json.at("id");
  m.step = json.at("step");
  m.updates = json.at("updates");
  m.next_sample = json.at("next_sample");
  m.skipped_steps = json.at("skipped_steps");
  m.skipped_in_a_row = json.at("skipped_in_a_row");
  m.validation_pending = json.value("validation_pending", false);
  m.recent_losses = json.value("recent_losses", std::vector<double>{});
  m.layout = {json.at("layout").at("data"), json.at("layout").at("replica"), json.at("layout").at("tensor")};
  m.created = json.at("created");
  m.config = json.at("config");
  m.model = json.at("model").dump(2);
  m.tokenizer = json.at("tokenizer");
  m.data = json.at("data").get<std::map<std::string, std::string>>();
  m.versions = json.at("versions").get<std::map<std::string, std::string>>();
  for (const auto& [name, t] : json.at("tensors").items())
    m.tensors[name] = {dtype_from(t.at("dtype")), t.at("shape"), t.at("file_shape"), t.at("trained")};
  for (const Json& file : json.at("files")) m.files.push_back(file_from(file));
  return m;
}

}  // namespace

std::string DatasetRecord::path() const { return cat(name_of(kind), "/", tensor); }

const TensorRecord& Manifest::tensor(const std::string& name) const {
  const auto it = tensors.find(name);
  PSCALE_CHECK(it != tensors.end(), "no tensor is named ", name);
  return it->second;
}

std::string to_json(const FileRecord& record) { return json_of(record).dump(); }

FileRecord file_record_from_json(const std::string& text) { return file_from(Json::parse(text)); }

std::string to_json(const Manifest& m) {
  Json json;
  json["format"] = "pscale checkpoint";
  json["format_version"] = kFormatVersion;
  json["id"] = m.id;
  json["step"] = m.step;
  json["updates"] = m.updates;
  json["next_sample"] = m.next_sample;
  json["skipped_steps"] = m.skipped_steps;
  json["skipped_in_a_row"] = m.skipped_in_a_row;
  if (m.validation_pending) json["validation_pending"] = true;
  if (!m.recent_losses.empty()) json["recent_losses"] = m.recent_losses;
  json["layout"] = {{"data", m.layout.data}, {"replica", m.layout.replica}, {"tensor", m.layout.tensor}};
  json["created"] = m.created;
  json["config"] = m.config;
  json["model"] = Json::parse(m.model);
  json["tokenizer"] = m.tokenizer;
  json["data"] = m.data;
  json["versions"] = m.versions;
  json["tensors"] = Json::object();
  for (const auto& [name, t] : m.tensors)
    json["tensors"][name] = {
        {"dtype", name_of(t.dtype)}, {"shape", t.shape}, {"file_shape", t.file_shape}, {"trained", t.trained}};
  json["files"] = Json::array();
  for (const FileRecord& file : m.files) json["files"].push_back(json_of(file));
  std::string text = json.dump(1);
  text.resize(text.size() - 2);  // the last "\n}"
  const uint64_t hash = hash_of(text.data(), text.size());
  return cat(text, kSelfHash, to_hex(hash), kEnd);
}

Manifest read_manifest(const std::filesystem::path& folder) {
  const std::filesystem::path path = folder / kManifestName;
  std::error_code ignored;
  if (!std::filesystem::is_directory(folder, ignored)) throw UserError(cat(folder.string(), ": there is no such folder"));
  if (!std::filesystem::exists(path, ignored))
    throw UserError(cat(folder.string(), ": no checkpoint: ", kManifestName,
                        " is missing, which is written when all else is complete"));
  const std::string text = read_file(path);
  const size_t tail = kSelfHash.size() + 16 + kEnd.size();
  const auto damaged = [&](const std::string& what) { return UserError(cat(path.string(), ": ", what)); };
  if (text.size() < tail || !text.ends_with(kEnd) || text.compare(text.size() - tail, kSelfHash.size(), kSelfHash) != 0 ||
      text.substr(text.size() - kEnd.size() - 16, 16) != to_hex(hash_of(text.data(), text.size() - tail)))
    throw damaged("damaged: it does not have the hash it was written with");
  try {
    const Json json = Json::parse(text);
    if (json.at("format") != "pscale checkpoint") throw damaged("is no manifest of a checkpoint");
    if (json.at("format_version") != kFormatVersion)
      throw damaged(cat("has format version ", json.at("format_version").dump(), "; this program reads ", kFormatVersion));
    return manifest_from(json);
  } catch (const nlohmann::json::exception& e) {
    throw damaged(e.what());
  }
}

}  // namespace pscale
