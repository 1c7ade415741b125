#include "models/hf/export_tokenizer.h"

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

}  // namespace

namespace {
Json byte_vocabulary() {
  Json vocabulary;
  for (int byte = 0; byte < 256; ++byte) vocabulary[symbol_of(byte)] = byte;
  return vocabulary;
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
  for (const char* name : {"tokenizer.json", "tokenizer.model", "vocab.json"})
    if (fs::is_regular_file(fs::path(folder) / name)) return true;
  return false;
}

void copy_tokenizer(const std::string& from, const std::string& to) {
  if (!has_tokenizer(from))
    throw UserError(cat(from, ": holds no tokenizer (tokenizer.json, tokenizer.model or vocab.json)"));
  for (const char* name : kFiles)
    if (fs::is_regular_file(fs::path(from) / name))
      write_file_durably(fs::path(to) / name, read_file(fs::path(from) / name));
}

}  // namespace pscale
