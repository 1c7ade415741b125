// Matrix products on CPU: oneDNN's sgemm for float32; bfloat16 widened to float32 around it, which is the same on every
// processor; float64 (gradient checks) in plain loops.
#include "core/ops/matmul.h"

#include <dnnl.h>
#include <stdlib.h>

#include "core/cpu/simd/typed.h"

namespace pscale::cpu::PSCALE_ISA {
namespace {

// A bias goes into the output before the product is added to it, which saves a pass over the output.
void start_rows(const MatmulArgs& x, float* c, int64_t ldc, const float* bias) {
#pragma omp parallel for schedule(static) if (x.m * x.n >= kParallelElements)
  for (int64_t i = 0; i < x.m; ++i) __builtin_memcpy(c + i * ldc, bias, static_cast<size_t>(x.n) * sizeof(float));
}

void multiply_float(const MatmulArgs& x, const float* a, int64_t lda, const float* b, int64_t ldb, float* c,
                    int64_t ldc, const float* bias) {
  if (bias != nullptr) start_rows(x, c, ldc, bias);
  const float beta = x.accumulate || bias != nullptr ? 1.0f : 0.0f;
  const dnnl_status_t status = dnnl_sgemm(x.transpose_a ? 'T' : 'N', x.transpose_b ? 'T' : 'N', x.m, x.n, x.k, 1.0f,
                                          a, lda, b, ldb, beta, c, ldc);
  if (status != dnnl_success) __builtin_trap();  // the arguments were checked: only memory can be missing
}

float* widened(const bf16* from, int64_t stride, int64_t rows, int64_t columns) {
  float* to = static_cast<float*>(aligned_alloc(64, static_cast<size_t>((rows * columns * 4 + 127) / 64 * 64)));
#pragma omp parallel for schedule(static) if (rows * columns >= kParallelElements)
  for (int64_t r = 0; r < rows; ++r)
    for (int64_t c = 0; c < columns; ++c) to[r * columns + c] = load(from[r * stride + c]);
  return to;
}

void multiply_bf16(const MatmulArgs& x) {
  const int64_t a_rows = x.transpose_a ? x.k : x.m, a_columns = x.transpose_a ? x.m : x.k;
  const int64_t b_rows = x.transpose_b ? x.n : x.k, b_columns = x.transpose_b ? x.k : x.n;
  float* a = widened(static_cast<const bf16*>(x.a), x.lda, a_rows, a_columns);
  float* b = widened(static_cast<const bf16*>(x.b), x.ldb, b_rows, b_columns);
  float* bias = x.bias != nullptr ? widened(static_cast<const bf16*>(x.bias), x.n, 1, x.n) : nullptr;
  if (x.out == DType::float32) {
    multiply_float(x, a, a_columns, b, b_columns, static_cast<float*>(x.c), x.ldc, bias);
  } else {
    bf16* out = static_cast<bf16*>(x.c);
    float* c = x.accumulate ? widened(out, x.ldc, x.m, x.n)
                            : static_cast<float*>(aligned_alloc(64, static_cast<size_t>((x.m * x.n * 4 + 127) / 64 * 64)));
    multiply_float(x, a, a_columns, b, b_columns, c, x.n, bias);
#pragma omp parallel for schedule(static) if (x.m * x.n >= kParallelElements)
    for (int64_t i = 0; i < x.m; ++i)
      for (int64_t j = 0; j < x.n; ++j) out[i * x.ldc + j] = store<bf16>(c[i * x.n + j]);
    free(c);
  }
  free(a);
  free(b);
  free(bias);
}

void multiply_double(const MatmulArgs& x) {
  const double* a = static_cast<const double*>(x.a);
  const double* b = static_cast<const double*>(x.b);
  const double* bias = static_cast<const double*>(x.bias);
#pragma omp parallel for schedule(static) if (x.m * x.n * x.k >= kParallelElements)
  for (int64_t i = 0; i < x.m; ++i) {
    double* c = static_cast<double*>(x.c) + i * x.ldc;
    for (int64_t j = 0; j < x.n; ++j) c[j] = x.accumulate ? c[j] : (bias != nullptr ? bias[j] : 0.0);
    for (int64_t l = 0; l < x.k; ++l) {
      const double factor = x.transpose_a ? a[l * x.lda + i] : a[i * x.lda + l];
      for (int64_t j = 0; j < x.n; ++j) c[j] += factor * (x.transpose_b ? b[j * x.ldb + l] : b[l * x.ldb + j]);
    }
  }
}

void multiply(const MatmulArgs& x) {
  switch (x.in) {
    case DType::bfloat16: multiply_bf16(x); break;
    case DType::float64: multiply_double(x); break;
    default:
      multiply_float(x, static_cast<const float*>(x.a), x.lda, static_cast<const float*>(x.b), x.ldb,
                     static_cast<float*>(x.c), x.ldc, static_cast<const float*>(x.bias));
  }
}

constexpr MatmulKernels table{multiply};

}  // namespace
}  // namespace pscale::cpu::PSCALE_ISA

PSCALE_CPU_KERNELS(MatmulKernels, table)
