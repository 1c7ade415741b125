#include "models/hf/export_tokenizer.h"

#include <algorithm>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "core/base/durable_file.h"
#include "core/base/errors.h"

namespace pscale {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

namespace {

constexpr const char* kEnd = "<|endoftext|>";
constexpr const char* kFiles[] = {
    "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json", "vocab.json",
    "merges.txt",     "tokenizer.model",       "chat_template.jinja"};
constexpr const char* kRankFile = ".tiktoken";  // its ending

/// UTF-8 of a character below 0x800.
std::string utf8(int code) {
  if (code < 0x80) return {static_cast<char>(code)};
  return {static_cast<char>(0xc0 | code >> 6), static_cast<char>(0x80 | (code & 0x3f))};
}

/// The printable character that stands for a byte in byte-level vocabularies (GPT-2, Radford et al. 2019): itself where
/// it is printable in Latin-1, else the next free one from 256 on.
std::string symbol_of(int byte) {
  const auto printable = [](int b) { return (b >= 33 && b <= 126) || (b >= 161 && b <= 172) || b >= 174; };
  if (printable(byte)) return utf8(byte);
  int code = 256;
  for (int b = 0; b < byte; ++b) code += printable(b) ? 0 : 1;
  return utf8(code);
}

Json byte_vocabulary() {
  Json vocabulary;
  for (int byte = 0; byte < 256; ++byte) vocabulary[symbol_of(byte)] = byte;
  return vocabulary;
}

/// The names of a tokenizer's files in a folder.
std::vector<std::string> tokenizer_files_in(const std::string& folder) {
  std::vector<std::string> found;
  std::error_code ignored;
  for (const auto& entry : fs::directory_iterator(folder, ignored)) {
    const std::string name = entry.path().filename().string();
    const bool known = std::find(std::begin(kFiles), std::end(kFiles), name) != std::end(kFiles);
    if ((known || name.ends_with(kRankFile)) && entry.is_regular_file(ignored)) found.push_back(name);
  }
  std::sort(found.begin(), found.end());
  return found;
}

}  // namespace

bool is_byte_tokenizer(const std::string& folder) {
  const fs::path file = fs::path(folder) / "tokenizer.json";
  if (!fs::exists(file)) return false;
  const Json json = Json::parse(read_file(file), nullptr, false);
  if (!json.is_object() || !json.contains("model") || !json["model"].is_object()) return false;
  return json["model"].value("vocab", Json()) == byte_vocabulary() && json["model"].value("merges", Json()) == Json::array();
}

void write_byte_tokenizer(const std::string& folder) {
  const Json vocabulary = byte_vocabulary();
  const Json byte_level = {
      {"type", "ByteLevel"}, {"add_prefix_space", false}, {"trim_offsets", false}, {"use_regex", false}};
  const Json end = {{"id", kByteEndOfDocument}, {"content", kEnd},     {"single_word", false}, {"lstrip", false},
                    {"rstrip", false},          {"normalized", false}, {"special", true}};
  const Json model = {{"type", "BPE"},
                      {"dropout", nullptr},
                      {"unk_token", nullptr},
                      {"continuing_subword_prefix", nullptr},
                      {"end_of_word_suffix", nullptr},
                      {"fuse_unk", false},
                      {"byte_fallback", false},
                      {"ignore_merges", false},
                      {"vocab", vocabulary},
                      {"merges", Json::array()}};
  const Json tokenizer = {{"version", "1.0"},
                          {"truncation", nullptr},
                          {"padding", nullptr},
                          {"added_tokens", Json::array({end})},
                          {"normalizer", nullptr},
                          {"pre_tokenizer", byte_level},
                          {"post_processor", nullptr},
                          {"decoder", byte_level},
                          {"model", model}};
  Json added = end;
  added.erase("id");
  // Text that happens to spell the end of a document is bytes, too.
  const Json config = {{"tokenizer_class", "PreTrainedTokenizerFast"},
                       {"added_tokens_decoder", {{cat(kByteEndOfDocument), added}}},
                       {"bos_token", nullptr},
                       {"eos_token", kEnd},
                       {"pad_token", kEnd},
                       {"unk_token", nullptr},
                       {"add_prefix_space", false},
                       {"split_special_tokens", true},
                       {"clean_up_tokenization_spaces", false},
                       {"model_input_names", {"input_ids", "attention_mask"}},
                       {"model_max_length", 1000000000}};
  write_file_durably(fs::path(folder) / "tokenizer.json", tokenizer.dump(1) + "\n");
  write_file_durably(fs::path(folder) / "tokenizer_config.json", config.dump(2) + "\n");
}

bool has_tokenizer(const std::string& folder) {
  const auto files = tokenizer_files_in(folder);
  return std::any_of(files.begin(), files.end(), [](const std::string& name) {
    return name == "tokenizer.json" || name == "tokenizer.model" || name == "vocab.json" || name.ends_with(kRankFile);
  });
}

bool normalizes_to_nfc(const std::string& folder) {
  const fs::path file = fs::path(folder) / "tokenizer.json";
  if (!fs::exists(file)) return false;
  const Json json = Json::parse(read_file(file), nullptr, false);
  return json.is_object() && json.contains("normalizer") && json["normalizer"].dump().find("\"NFC\"") != std::string::npos;
}

void copy_tokenizer(const std::string& from, const std::string& to) {
  if (!has_tokenizer(from))
    throw UserError(cat(from, ": holds no tokenizer (tokenizer.json, tokenizer.model, vocab.json or one of .tiktoken)"));
  for (const std::string& name : tokenizer_files_in(from))
    write_file_durably(fs::path(to) / name, read_file(fs::path(from) / name));
}

}  // namespace pscale
