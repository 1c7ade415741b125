// Training and validation samples from token files. The trainer asks for sample i; which i is whose is not
// known here.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>

#include "data/sampler/document_order.h"
#include "data/token_file/token_file.h"

namespace pscale {

/// Which documents of the token files samples are made of. Of N documents the last ceil(fraction * N) are for
/// validation, at least one; with fraction 0, none; with fraction 1, all. Neither the sequence length nor the
/// seed moves the border.
struct DataSplit {
  enum class Part : uint8_t { train, validation };
  Part part = Part::train;
  double validation_fraction = 0;  ///< in [0, 1]
};

class TokenDataset {
 public:
  /// `length`: tokens of a sequence, S >= 1. Throws UserError where the part has too few tokens for a single sample.
  TokenDataset(std::shared_ptr<const TokenFile> file, int64_t length, uint64_t seed, DataSplit split = {});
  /// Opens the token files, too: `prefix` is the path without .bin and .idx. Throws UserError where they are wrong.
  TokenDataset(const std::string& prefix, int64_t length, uint64_t seed, DataSplit split = {});

  /// A sample: S tokens and, behind each, the one to be predicted from it, S + 1 consecutive tokens of this part's stream.
  /// The pieces of the stream, j S to j S + S, overlap in that last token only.
  ///
  /// The stream of the training part is endless: all its documents in the order of epoch 0, then all of them in that of
  /// epoch 1, and so on (data/sampler/document_order.h). An epoch's pieces are those that begin in it; they come in a
  /// seeded order too, so that a long document is not all of one batch. The stream of the validation part is its
  /// documents as they stand in the file, again and again, less the fewer than S + 1 tokens that are left at the end.
  ///
  /// A function of (files, S, seed, split, i) alone, without limit for i; O(log documents).
  ///
  /// `documents`, if not empty: for each token the number, from 0, of its document within the sample.
  /// Throws UserError for a token that is not in the vocabulary (damaged files).
  void sample(uint64_t i, std::span<int32_t> tokens, std::span<int32_t> documents = {}) const;

  int64_t length() const { return length_; }  ///< S
  /// Of the first epoch; later ones may have one less.
  uint64_t samples_per_epoch() const { return samples_; }
  int64_t documents() const { return last_document_ - first_document_; }  ///< of this part
  int64_t tokens() const { return end_ - begin_; }                        ///< of this part
  /// TokenFile::vocabulary(). Where that takes reading all tokens the answer is kept, as document orders are.
  int64_t vocabulary() const { return vocabulary_; }
  const TokenFile& file() const { return *file_; }
  const std::shared_ptr<const TokenFile>& shared_file() const { return file_; }

 private:
  [[noreturn]] void too_small(const DataSplit& split) const;
  void read(int64_t first, std::span<int32_t> tokens) const;
  void number_documents(int64_t first, std::span<int32_t> documents) const;

  uint64_t piece_of(uint64_t i) const;

  std::shared_ptr<const TokenFile> file_;
  int64_t length_;
  uint64_t seed_;
  int64_t vocabulary_;
  int64_t first_document_ = 0, last_document_ = 0;
  int64_t begin_ = 0, end_ = 0;  // tokens
  uint64_t samples_ = 0;
  std::optional<DocumentOrder> order_;  // of the training part
};

}  // namespace pscale
