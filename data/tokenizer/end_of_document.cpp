#include "data/tokenizer/end_of_document.h"

#include <filesystem>
#include <nlohmann/json.hpp>

#include "core/base/durable_file.h"
#include "core/base/errors.h"

namespace pscale {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::json;

/// The object in a file beside the tokenizer; null where there is no such file.
Json read_object(const fs::path& path) {
  std::error_code ignored;
  if (!fs::exists(path, ignored)) return nullptr;
  Json json;
  try {
    json = Json::parse(read_file(path));
  } catch (const Json::exception& malformed) {
    throw UserError(cat(path.string(), ": ", malformed.what()));
  }
  if (!json.is_object()) throw UserError(cat(path.string(), ": is not a JSON object"));
  return json;
}

/// A token as these files spell it: a text, or an object with its content.
std::string token_text(const fs::path& path, const char* key, const Json& value) {
  if (value.is_null()) return {};
  if (value.is_string()) return value.get<std::string>();
  if (value.is_object() && value.contains("content") && value["content"].is_string())
    return value["content"].get<std::string>();
  throw UserError(cat(path.string(), ": ", key, ": ", value.dump(-1, ' ', false, Json::error_handler_t::replace),
                      " is not a token"));
}

}  // namespace

std::optional<int32_t> find_end_of_document(const std::string& file, const std::string& wanted,
                                            const std::function<std::optional<int32_t>(const std::string&)>& id_of) {
  if (wanted == "none") return {};
  if (!wanted.empty()) {
    const auto id = id_of(wanted);
    if (!id) throw UserError(cat("--end-of-document ", wanted, ": ", file, " has no such token"));
    return id;
  }
  const fs::path folder = fs::path(file).parent_path();
  for (const char* name : {"tokenizer_config.json", "special_tokens_map.json"}) {
    const Json json = read_object(folder / name);
    const std::string token = json.contains("eos_token") ? token_text(folder / name, "eos_token", json["eos_token"]) : "";
    if (token.empty()) continue;
    const auto id = id_of(token);
    if (!id)
      throw UserError(cat((folder / name).string(), ": eos_token: ", file, " has no token ", token,
                          "; choose one with --end-of-document TOKEN or none"));
    return id;
  }
  for (const char* name : {"generation_config.json", "config.json"}) {
    const Json json = read_object(folder / name);
    if (!json.contains("eos_token_id")) continue;
    const Json& value = json["eos_token_id"];
    const Json& first = value.is_array() && !value.empty() ? value[0] : value;
    if (first.is_null()) continue;
    if (!first.is_number_integer() || first.get<int64_t>() < 0 || first.get<int64_t>() > INT32_MAX)
      throw UserError(cat((folder / name).string(), ": eos_token_id: ", value.dump(), " is not a token id"));
    return first.get<int32_t>();
  }
  for (const char* obvious : {"<|endoftext|>", "<|end_of_text|>"})
    if (const auto id = id_of(obvious)) return id;
  return {};
}

std::vector<std::string> tokenizer_files(const std::string& file) {
  std::vector<std::string> found = {file};
  const fs::path folder = fs::path(file).parent_path();
  std::error_code ignored;
  for (const char* name : {"tokenizer_config.json", "special_tokens_map.json", "generation_config.json",
                           "added_tokens.json", "vocab.json", "merges.txt", "chat_template.jinja"})
    if (fs::is_regular_file(folder / name, ignored)) found.push_back((folder / name).string());
  return found;
}

}  // namespace pscale
