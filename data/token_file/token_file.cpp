#include "data/token_file/token_file.h"

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <utility>
#include <vector>

#include "core/base/errors.h"
#include "core/base/hash.h"

namespace pscale {
namespace {

namespace fs = std::filesystem;

/// Missing files first, all at once, with what the user probably meant.
std::string existing(std::string prefix) {
  std::vector<std::string> problems;
  std::error_code ignored;
  for (const std::string& path : {idx_path(prefix), bin_path(prefix)})
    if (!fs::exists(path, ignored)) problems.push_back(cat(path, ": no such file"));
  if (problems.empty()) return prefix;
  if (prefix.ends_with(".bin") || prefix.ends_with(".idx"))
    problems = {
        cat(prefix, ": name the token files without .bin and .idx: ", prefix.substr(0, prefix.size() - 4))};
  else if (problems.size() == 1 && fs::exists(bin_path(prefix), ignored))
    problems = {cat(problems[0], " beside ", bin_path(prefix),
                    ": an incomplete copy, or a preparation that was killed when it gave the files their names; copy or "
                    "prepare it again")};
  else if (problems.size() == 2)
    problems = {
        cat(idx_path(prefix), " and .bin: no such files; make them with pscale_data prepare --out ", prefix)};
  throw UserError(std::move(problems));
}

}  // namespace

TokenFile::TokenFile(std::string prefix)
    : prefix_(existing(std::move(prefix))), index_(idx_path(prefix_)), bin_(bin_path(prefix_)) {
  open_index();
  check_sequences();
  check_documents();
  read_meaning();
}

void TokenFile::corrupt(const std::string& what) const {
  throw UserError(cat(idx_path(prefix_), ": ", what, "; prepare it again"));
}

void TokenFile::open_index() {
  if (index_.size() < kTokenIndexHeader)
    corrupt(cat("too short for an index of token files: ", index_.size(), " bytes"));
  const unsigned char* at = index_.data();
  if (std::memcmp(at, kTokenIndexMagic, sizeof kTokenIndexMagic) != 0)
    corrupt("not an index of token files: it does not begin with MMIDIDX");
  at += sizeof kTokenIndexMagic;
  const uint64_t version = Array<uint64_t>{at}[0];
  if (version != kTokenIndexVersion)
    corrupt(cat("version ", version, " of the format; this program reads version 1"));
  const int code = at[8];
  if (code != static_cast<int>(TokenType::uint16) && code != static_cast<int>(TokenType::int32))
    corrupt(cat("token type ", code, "; this program reads 8 (uint16) and 4 (int32)"));
  type_ = static_cast<TokenType>(code);
  const uint64_t sequences = Array<uint64_t>{at + 9}[0], entries = Array<uint64_t>{at + 17}[0];

  // Counts that the file cannot hold are refused before anything is computed from them.
  const uint64_t room = static_cast<uint64_t>(index_.size() - kTokenIndexHeader);
  if (entries == 0) corrupt("its document index is empty");
  if (sequences > room / 12 || entries > room / 8 || 12 * sequences + 8 * entries > room)
    corrupt(cat("cut off: ", index_.size(), " bytes cannot hold ", sequences, " sequences and ", entries - 1,
                " documents"));
  if (12 * sequences + 8 * entries + sequences == room && sequences > 0)
    corrupt("it holds modes of sequences (multimodal data), which this program does not read");
  if (12 * sequences + 8 * entries < room)
    corrupt(cat(room - 12 * sequences - 8 * entries, " bytes too long for ", sequences, " sequences and ",
                entries - 1, " documents"));
  sequences_ = static_cast<int64_t>(sequences);
  documents_ = static_cast<int64_t>(entries) - 1;
  lengths_ = {index_.data() + kTokenIndexHeader};
  pointers_ = {lengths_.bytes + 4 * sequences_};
  document_index_ = {pointers_.bytes + 8 * sequences_};
  tokens_ = bin_.size() / size_of(type_);
}

void TokenFile::check_sequences() const {
  int64_t byte = 0;
  for (int64_t i = 0; i < sequences_; ++i) {
    const int64_t length = lengths_[i];
    if (length < 0) corrupt(cat("sequence ", i, " has ", length, " tokens"));
    if (pointers_[i] != byte)
      corrupt(
          cat("sequence ", i, " starts at byte ", pointers_[i], ", but the ones before it end at ", byte));
    byte += length * size_of(type_);
  }
  if (byte != bin_.size())
    throw UserError(cat(bin_path(prefix_), ": has ", bin_.size(), " bytes, but ", idx_path(prefix_),
                        " counts ", byte / size_of(type_), " tokens of type ", name_of(type_), ", ", byte,
                        " bytes: an incomplete copy, or not a pair; copy or prepare both again"));
}

void TokenFile::check_documents() const {
  int64_t before = document_index_[0];
  if (before != 0) corrupt(cat("document 0 starts at sequence ", before));
  for (int64_t d = 1; d <= documents_; ++d) {
    const int64_t start = document_index_[d];
    if (start < before || start > sequences_)
      corrupt(cat("document ", d - 1, " holds sequences ", before, " to ", start - 1, " of ", sequences_));
    before = start;
  }
  if (before != sequences_) corrupt(cat("its documents hold ", before, " of ", sequences_, " sequences"));
}

void TokenFile::read_meaning() {
  const std::string path = meta_path(prefix_);
  std::error_code ignored;
  if (!fs::exists(path, ignored)) return;
  std::ifstream file(path);
  TokenMeaning meaning;
  int64_t documents = 0, tokens = 0;
  try {
    const nlohmann::json json = nlohmann::json::parse(file);
    meaning.tokenizer = json.at("tokenizer").get<std::string>();
    const auto number = [&](const char* key) {
      const nlohmann::json& value = json.at(key);
      // Other numbers are not what they seem once they are converted.
      if (!value.is_number_integer()) throw UserError(cat(path, ": ", key, " is not a whole number; prepare it again"));
      return value.get<int64_t>();
    };
    meaning.vocab_size = number("vocab_size");
    if (meaning.vocab_size < 1)
      throw UserError(cat(path, ": vocab_size = ", meaning.vocab_size, " must be at least 1"));
    if (!json.at("end_of_document").is_null()) {
      const int64_t end = number("end_of_document");
      if (end < 0 || end >= meaning.vocab_size || end > INT32_MAX)
        throw UserError(cat(path, ": end_of_document = ", end, " is not a token of the vocabulary of ",
                            meaning.vocab_size, "; prepare it again"));
      meaning.end_of_document = static_cast<int32_t>(end);
    }
    meaning.part = json.value("part", "");
    documents = number("documents");
    tokens = number("tokens");
  } catch (const nlohmann::json::exception& malformed) {
    throw UserError(
        cat(path, ": ", malformed.what(), "; prepare it again, or remove this file to do without"));
  }
  if (documents != documents_ || tokens != tokens_)
    throw UserError(cat(path, ": describes ", documents, " documents of ", tokens, " tokens, but ",
                        idx_path(prefix_), " has ", documents_, " documents of ", tokens_,
                        " tokens: not of the same preparation"));
  meaning_ = std::move(meaning);
}

int64_t TokenFile::vocabulary() const {
  if (meaning_) return meaning_->vocab_size;
  int32_t largest = -1;
  std::vector<int32_t> block(1 << 16);
  for (int64_t first = 0; first < tokens_; first += static_cast<int64_t>(block.size())) {
    const auto count = std::min<int64_t>(tokens_ - first, static_cast<int64_t>(block.size()));
    const std::span<int32_t> part(block.data(), static_cast<size_t>(count));
    read(first, part);
    largest = std::max(largest, *std::max_element(part.begin(), part.end()));
  }
  return int64_t{largest} + 1;
}

int64_t TokenFile::first_sequence(int64_t document) const {
  PSCALE_CHECK(document >= 0 && document <= documents_, "document ", document, " of ", documents_);
  return document_index_[document];
}

int32_t TokenFile::sequence_length(int64_t sequence) const {
  PSCALE_CHECK(sequence >= 0 && sequence < sequences_, "sequence ", sequence, " of ", sequences_);
  return lengths_[sequence];
}

int64_t TokenFile::document_begin(int64_t document) const {
  const int64_t sequence = first_sequence(document);
  return sequence == sequences_ ? tokens_ : pointers_[sequence] / size_of(type_);
}

int64_t TokenFile::document_of(int64_t token) const {
  PSCALE_CHECK(token >= 0 && token < tokens_, "token ", token, " of ", tokens_);
  // The last document that starts at or before the token; of empty ones at the same place, the one that is
  // not.
  int64_t low = 0, high = documents_;
  while (high - low > 1) {
    const int64_t middle = low + (high - low) / 2;
    (document_begin(middle) <= token ? low : high) = middle;
  }
  return low;
}

uint64_t TokenFile::fingerprint() const {
  constexpr int64_t kPlaces = 64, kTokens = 1024;
  Hash hash;
  const int64_t numbers[] = {tokens_, documents_, static_cast<int64_t>(type_), meaning_ ? meaning_->vocab_size : 0};
  hash.add(numbers, sizeof numbers);
  std::vector<int32_t> tokens(static_cast<size_t>(std::min(kTokens, tokens_)));
  for (int64_t place = 0; place < kPlaces; ++place) {
    read((tokens_ - static_cast<int64_t>(tokens.size())) / (kPlaces - 1) * place, tokens);
    hash.add(tokens.data(), tokens.size() * sizeof(int32_t));
    const int64_t begin = document_begin(place * documents_ / kPlaces);
    hash.add(&begin, sizeof begin);
  }
  return hash.value();
}

uint64_t TokenFile::index_hash() const { return hash_of(index_.data(), static_cast<size_t>(index_.size())); }

void TokenFile::read(int64_t first, std::span<int32_t> out) const {
  const int64_t count = static_cast<int64_t>(out.size());
  PSCALE_CHECK(first >= 0 && count <= tokens_ - first, "tokens ", first, " + ", count, " of ", tokens_);
  if (count == 0) return;
  if (type_ == TokenType::int32) {
    bin_.read(first * size_of(type_), out.data(), count * size_of(type_));
  } else {
    std::vector<uint16_t> tokens(out.size());
    bin_.read(first * size_of(type_), tokens.data(), count * size_of(type_));
    std::copy(tokens.begin(), tokens.end(), out.begin());
  }
}

}  // namespace pscale
