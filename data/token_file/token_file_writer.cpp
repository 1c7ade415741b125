#include "data/token_file/token_file_writer.h"

#include <algorithm>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <utility>

#include "core/base/errors.h"

namespace pscale {

TokenFileWriter::TokenFileWriter(std::string prefix, TokenMeaning meaning, int32_t longest)
    : prefix_(std::move(prefix)),
      meaning_(std::move(meaning)),
      type_(token_type_for(meaning_.vocab_size)),
      longest_(longest),
      bin_(bin_path(prefix_)),
      index_(idx_path(prefix_)),
      meta_(meta_path(prefix_)) {
  PSCALE_CHECK(longest_ > 0 && meaning_.vocab_size > 0, longest_, " ", meaning_.vocab_size);
}

void TokenFileWriter::append(std::span<const int32_t> tokens) {
  // As unsigned numbers negative ones are large.
  const auto limit = static_cast<uint64_t>(meaning_.vocab_size);
  const auto outside = [&](int32_t token) { return static_cast<uint32_t>(token) >= limit; };
  const auto wrong = std::find_if(tokens.begin(), tokens.end(), outside);
  PSCALE_CHECK(wrong == tokens.end(), "token ", *wrong, " of a vocabulary of ", meaning_.vocab_size);
  if (type_ == TokenType::uint16) {
    narrow_.assign(tokens.begin(), tokens.end());
    bin_.write(narrow_.data(), narrow_.size() * sizeof(uint16_t));
  } else {
    bin_.write(tokens.data(), tokens.size_bytes());
  }
  tokens_ += static_cast<int64_t>(tokens.size());
  for (size_t left = tokens.size(); left > 0;) {
    if (length_ == longest_) end_sequence();
    const size_t part = std::min(left, static_cast<size_t>(longest_ - length_));
    length_ += static_cast<int32_t>(part);
    left -= part;
  }
}

void TokenFileWriter::end_sequence() {
  lengths_.push_back(length_);
  length_ = 0;
}

void TokenFileWriter::end_document() {
  if (meaning_.end_of_document) append({&*meaning_.end_of_document, 1});
  end_sequence();
  document_index_.push_back(static_cast<int64_t>(lengths_.size()));
}

void TokenFileWriter::finish() {
  PSCALE_CHECK(length_ == 0, "the last document was not ended");
  write_index();
  write_meaning();
  bin_.sync();
  index_.sync();
  meta_.sync();
  // Until the new index is there, a reader finds no index: the old one does not fit the new tokens.
  std::error_code error;
  std::filesystem::remove(index_.path(), error);
  if (error) throw UserError(cat(index_.path(), ": cannot replace: ", error.message()));
  sync_folder_of(index_.path());
  bin_.publish();
  meta_.publish();
  sync_folder_of(index_.path());
  index_.publish();
  sync_folder_of(index_.path());
}

void TokenFileWriter::write_index() {
  index_.write(kTokenIndexMagic, sizeof kTokenIndexMagic);
  index_.write_value(kTokenIndexVersion);
  index_.write_value(static_cast<uint8_t>(type_));
  index_.write_value(static_cast<uint64_t>(lengths_.size()));
  index_.write_value(static_cast<uint64_t>(document_index_.size()));
  index_.write(lengths_.data(), lengths_.size() * sizeof(int32_t));
  int64_t byte = 0;
  for (const int32_t length : lengths_) {
    index_.write_value(byte);
    byte += length * size_of(type_);
  }
  index_.write(document_index_.data(), document_index_.size() * sizeof(int64_t));
}

void TokenFileWriter::write_meaning() {
  nlohmann::ordered_json json = {{"tokenizer", meaning_.tokenizer},
                                 {"vocab_size", meaning_.vocab_size},
                                 {"end_of_document", nullptr},
                                 {"documents", documents()},
                                 {"tokens", tokens_}};
  if (meaning_.end_of_document) json["end_of_document"] = *meaning_.end_of_document;
  const std::string text = json.dump(2) + "\n";
  meta_.write(text.data(), text.size());
}

}  // namespace pscale
