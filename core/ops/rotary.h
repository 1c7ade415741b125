// Rotary embedding (Su et al. 2021) of the heads in some columns of each row, in place.
#pragma once

#include "core/autograd/tape.h"
#include "core/tensor/dispatch.h"

namespace pscale {

/// half: the rotation that Qwen2 and Llama use. interleaved: what parscale-xattn computes for replicas: angles laid out
/// in pairs, rotation by halves; a linear map, but not a rotation.
enum class RotaryLayout : uint8_t { half, interleaved };

struct RotaryArgs {
  DType type;                 ///< of x
  void* x;                    ///< [rows, columns]
  int64_t rows, columns, first_column, heads, head_dim;
  const void *cos, *sin;      ///< [positions, head_dim / 2], float32 (float64 for float64 x)
  const int32_t* index;       ///< [rows]: which position
  RotaryLayout layout;
  bool transposed;            ///< apply the transpose of the map, for gradients
};

struct RotaryKernels {
  Kernel<void(const RotaryArgs& args)> rotate;
};

struct RotaryTable {
  Tensor cos, sin;  ///< [positions, head_dim / 2]
};

struct RotarySpec {
  int64_t first_column = 0, heads = 1, head_dim = 2;
  RotaryLayout layout = RotaryLayout::half;
};

/// Rotates heads * head_dim columns of every row of x [..., C] by the angles of table row index[row]. x is a fresh result
/// that nobody saved; the output is over its memory. index int32 [rows].
Var rotary_in_place(Tape& tape, Var&& x, const RotarySpec& spec, const RotaryTable& table, const Tensor& index);

}  // namespace pscale
