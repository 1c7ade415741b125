// One micro-batch on one data rank, as every rank of its replica and tensor axes sees it.
#pragma once

#include <span>

#include "core/tensor/tensor.h"

namespace pscale {

/// Tokens are flattened sequence by sequence and padded at the end to a multiple of `multiple`; padding counts for
/// nothing.
struct Batch {
  int64_t sequences = 0, length = 0;
  int64_t tokens = 0;     ///< n, with padding
  int64_t counted = 0;    ///< targets that count
  Tensor inputs;          ///< int32 [n], -1 padding
  Tensor targets;         ///< int32 [n], -1 where nothing counts: padding, and targets that open another document
  Tensor positions;       ///< int32 [n], within the document
  Tensor starts;          ///< int32 [n], index within the sequence of the document's first token; undefined: one document
};

/// tokens [sequences, length+1]: inputs are the first `length` of each, targets the last. documents as tokens, a number
/// per document, equal numbers adjacent; empty: each sequence is one document.
Batch make_batch(const Device& device, std::span<const int32_t> tokens, std::span<const int32_t> documents,
                 int64_t sequences, int64_t length, int64_t multiple);

/// Targets that count, without making the batch.
int64_t count_targets(std::span<const int32_t> documents, int64_t sequences, int64_t length);

}  // namespace pscale
