// Looking up rows of a table, of which this rank may hold a part.
#pragma once

#include "core/autograd/tape.h"
#include "core/tensor/dispatch.h"

namespace pscale {

struct EmbeddingKernels {
  /// out [tokens, columns]: row tokens[i] - first_row of table [rows, columns], or zero where that is not in the table.
  Kernel<void(DType type, const void* table, const int32_t* tokens, void* out, int64_t count, int64_t first_row,
              int64_t rows, int64_t columns)>
      forward;
  /// dtable [rows, columns] of `sums_type` += the rows of dout that belong to it, in token order.
  Kernel<void(DType type, const void* dout, const int32_t* tokens, DType sums_type, void* dtable, int64_t count,
              int64_t first_row, int64_t rows, int64_t columns)>
      backward;
};

/// table [rows, H] holds the vocabulary from first_row on; tokens int32 [n] -> [n, H], zero for tokens that are not in
/// the table (another rank's, or -1 for padding).
Var embedding(Tape& tape, const Var& table, const Tensor& tokens, int64_t first_row);

}  // namespace pscale
