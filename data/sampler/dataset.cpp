#include "data/sampler/dataset.h"

#include <algorithm>
#include <cmath>

#include "core/base/errors.h"
#include "data/sampler/cached_numbers.h"
#include "data/sampler/permutation.h"

namespace pscale {
namespace {

using Wide = unsigned __int128;

/// Documents that are kept for validation.
int64_t validation_documents(int64_t documents, double fraction) {
  PSCALE_CHECK(fraction >= 0 && fraction <= 1, fraction);
  if (fraction == 0 || documents == 0) return 0;
  // 0.1 * 30 is a little more than 3.
  const double exact = fraction * static_cast<double>(documents);
  return std::clamp<int64_t>(static_cast<int64_t>(std::ceil(exact - 1e-9 * exact)), 1, documents);
}

int64_t vocabulary_of(const TokenFile& file) {
  if (file.meaning()) return file.vocabulary();
  const uint64_t key = file.fingerprint();
  return CachedNumbers(cache_path(file.prefix(), "vocabulary", key), key, 1, [&] { return std::vector{file.vocabulary()}; })[0];
}

}  // namespace

TokenDataset::TokenDataset(const std::string& prefix, int64_t length, uint64_t seed, DataSplit split)
    : TokenDataset(std::make_shared<const TokenFile>(prefix), length, seed, split) {}

TokenDataset::TokenDataset(std::shared_ptr<const TokenFile> file, int64_t length, uint64_t seed, DataSplit split)
    : file_(std::move(file)), length_(length), seed_(seed), vocabulary_(vocabulary_of(*file_)) {
  PSCALE_CHECK(length >= 1, length);
  const int64_t all = file_->documents();
  const int64_t border = all - validation_documents(all, split.validation_fraction);
  const bool train = split.part == DataSplit::Part::train;
  first_document_ = train ? 0 : border;
  last_document_ = train ? border : all;
  begin_ = file_->document_begin(first_document_);
  end_ = file_->document_begin(last_document_);
  if (tokens() <= length_) too_small(split);
  samples_ = static_cast<uint64_t>(train ? (tokens() + length_ - 1) / length_ : (tokens() - 1) / length_);
  if (train) order_.emplace(*file_, first_document_, last_document_, seed);
}

void TokenDataset::too_small(const DataSplit& split) const {
  const int64_t all = file_->documents();
  const bool train = split.part == DataSplit::Part::train;
  std::string problem = cat(file_->prefix(), ": ", train ? "training" : "validation", " has ", documents(),
                            " of ", all, " documents with ", tokens(),
                            " tokens, but one sample takes train.sequence_length + 1 = ", length_ + 1);
  if (file_->tokens() <= length_) {
    problem += cat("; all documents together have ", file_->tokens(), ": prepare more text");
  } else if (train) {
    problem += cat("; lower data.validation_fraction = ", split.validation_fraction,
                   ", name other files in data.validation, prepare more text");
  } else {
    int64_t first = all;
    while (first > 0 && file_->tokens() - file_->document_begin(first) <= length_) --first;
    const double least = static_cast<double>(all - first) / static_cast<double>(all);
    // Rounded up to three digits, so that it can be typed.
    const double unit = std::pow(10, std::floor(std::log10(least)) - 2);
    if (first > 0)
      problem += cat("; set data.validation_fraction (now ", split.validation_fraction, ") to at least ",
                     std::ceil(least / unit) * unit, ", name other files in data.validation");
    else
      problem +=
          "; name other files in data.validation, turn validation off with data.validation_interval = 0";
  }
  throw UserError(problem + cat(", or shorten train.sequence_length",
                                tokens() > 1 ? cat(" to at most ", tokens() - 1) : ""));
}

void TokenDataset::sample(uint64_t i, std::span<int32_t> tokens, std::span<int32_t> documents) const {
  const size_t width = static_cast<size_t>(length_) + 1;
  PSCALE_CHECK(tokens.size() == width && (documents.empty() || documents.size() == width), tokens.size(), " ",
               documents.size(), " for ", width);
  if (!order_) {
    const int64_t first = begin_ + static_cast<int64_t>(i % samples_) * length_;
    read(first, tokens);
    if (!documents.empty()) number_documents(first, documents);
    return;
  }
  const auto place = static_cast<Wide>(piece_of(i)) * static_cast<uint64_t>(length_);
  const auto all = static_cast<uint64_t>(this->tokens());
  DocumentOrder::Cursor cursor = order_->at(static_cast<uint64_t>(place / all), static_cast<int64_t>(place % all));
  int32_t number = 0;
  for (size_t done = 0;; cursor.next(), ++number) {
    const size_t part = std::min(width - done, static_cast<size_t>(cursor.left()));
    read(cursor.token(), tokens.subspan(done, part));
    if (!documents.empty()) std::fill_n(documents.begin() + static_cast<std::ptrdiff_t>(done), part, number);
    done += part;
    if (done == width) break;
  }
}

uint64_t TokenDataset::piece_of(uint64_t i) const {
  const auto all = static_cast<uint64_t>(tokens()), step = static_cast<uint64_t>(length_);
  const auto epoch = static_cast<uint64_t>(static_cast<Wide>(i) * step / all);
  const auto first_of = [&](uint64_t e) { return static_cast<uint64_t>((static_cast<Wide>(e) * all + step - 1) / step); };
  const uint64_t first = first_of(epoch);
  return first + Permutation(first_of(epoch + 1) - first, seed_, epoch)[i - first];
}

void TokenDataset::read(int64_t first, std::span<int32_t> tokens) const {
  file_->read(first, tokens);
  for (size_t k = 0; k < tokens.size(); ++k)
    if (tokens[k] < 0 || tokens[k] >= vocabulary_)
      throw UserError(cat(bin_path(file_->prefix()), ": token ", first + static_cast<int64_t>(k), " is ", tokens[k],
                          ", not in the vocabulary of ", vocabulary_, ": the file is damaged; copy or prepare it again"));
}

void TokenDataset::number_documents(int64_t first, std::span<int32_t> documents) const {
  int64_t document = file_->document_of(first), next = file_->document_begin(document + 1);
  int32_t number = 0;
  for (size_t k = 0; k < documents.size(); ++k) {
    const int64_t token = first + static_cast<int64_t>(k);
    if (token >= next) {
      // Documents without tokens get no number.
      while (token >= next) next = file_->document_begin(++document + 1);
      ++number;
    }
    documents[k] = number;
  }
}

}  // namespace pscale
