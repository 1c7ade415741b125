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
  const char later[kTokenIndexHeader] = {};
  index_.write(later, sizeof later);
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
  index_.write_value(length_);
  ++sequences_;
  length_ = 0;
}

void TokenFileWriter::end_document() {
  if (meaning_.end_of_document) append({&*meaning_.end_of_document, 1});
  end_sequence();
  mark_document();
}

void TokenFileWriter::mark_document() {
  ++documents_;
  document_sequence_ = sequences_;
  document_token_ = tokens_;
  const auto& [document, sequence] = first_sequences_.back();
  if (sequences_ - sequence != documents_ - document) first_sequences_.emplace_back(documents_, sequences_);
}

void TokenFileWriter::drop_document() {
  if (tokens_ == document_token_) return;
  bin_.truncate(document_token_ * size_of(type_));
  index_.truncate(kTokenIndexHeader + document_sequence_ * static_cast<int64_t>(sizeof(int32_t)));
  tokens_ = document_token_;
  sequences_ = document_sequence_;
  length_ = 0;
}

void TokenFileWriter::append_documents(const TokenFile& other, const std::function<void(int64_t bytes)>& report) {
  PSCALE_CHECK(length_ == 0 && other.type() == type_, "type ", name_of(other.type()), ", ", length_);
  const std::span<const unsigned char> bytes = other.token_bytes();
  for (size_t done = 0; done < bytes.size();) {
    constexpr size_t block = size_t{16} << 20;
    const auto part = bytes.subspan(done, std::min(block, bytes.size() - done));
    bin_.write(part.data(), part.size());
    report(static_cast<int64_t>(done += part.size()));
  }
  tokens_ += other.tokens();
  int64_t sequence = 0;
  for (int64_t document = 0; document < other.documents(); ++document) {
    for (const int64_t end = other.first_sequence(document + 1); sequence < end; ++sequence) {
      length_ = other.sequence_length(sequence);
      end_sequence();
    }
    mark_document();
  }
}

void TokenFileWriter::finish(const std::function<void()>& beside) {
  PSCALE_CHECK(length_ == 0, "the last document was not ended");
  complete_index();
  write_meaning();
  bin_.sync();
  index_.sync();
  meta_.sync();
  // Until the new index is there, a reader finds no index: the old one does not fit the new tokens.
  std::error_code error;
  std::filesystem::remove(index_.path(), error);
  if (error) throw UserError(cat(index_.path(), ": cannot replace: ", error.message()));
  sync_folder_of(index_.path());
  beside();
  bin_.publish();
  meta_.publish();
  sync_folder_of(index_.path());
  index_.publish();
  sync_folder_of(index_.path());
}

void TokenFileWriter::complete_index() {
  std::vector<int32_t> lengths;
  int64_t byte = 0;
  for (int64_t first = 0; first < sequences_; first += static_cast<int64_t>(lengths.size())) {
    constexpr int64_t block = 1 << 18;
    lengths.resize(static_cast<size_t>(std::min(block, sequences_ - first)));
    index_.read_back(kTokenIndexHeader + first * static_cast<int64_t>(sizeof(int32_t)), lengths.data(),
                     lengths.size() * sizeof(int32_t));
    for (const int32_t length : lengths) {
      index_.write_value(byte);
      byte += length * size_of(type_);
    }
  }
  auto from = first_sequences_.begin();
  for (int64_t document = 0; document <= documents_; ++document) {
    if (from + 1 != first_sequences_.end() && (from + 1)->first == document) ++from;
    index_.write_value(from->second + document - from->first);
  }
  std::string header(kTokenIndexMagic, sizeof kTokenIndexMagic);
  const auto add = [&](auto value) { header.append(reinterpret_cast<const char*>(&value), sizeof value); };
  add(kTokenIndexVersion);
  add(static_cast<uint8_t>(type_));
  add(static_cast<uint64_t>(sequences_));
  add(static_cast<uint64_t>(documents_ + 1));
  index_.write_over(0, header.data(), header.size());
}

void TokenFileWriter::write_meaning() {
  nlohmann::ordered_json json = {{"tokenizer", meaning_.tokenizer},
                                 {"vocab_size", meaning_.vocab_size},
                                 {"end_of_document", nullptr},
                                 {"documents", documents()},
                                 {"tokens", tokens_}};
  if (meaning_.end_of_document) json["end_of_document"] = *meaning_.end_of_document;
  if (!meaning_.part.empty()) json["part"] = meaning_.part;
  const std::string text = json.dump(2) + "\n";
  meta_.write(text.data(), text.size());
}

}  // namespace pscale
