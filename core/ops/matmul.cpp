#include "core/ops/matmul.h"

namespace pscale {

void matmul(const Tensor& a, Transpose ta, const Tensor& b, Transpose tb, const Tensor& out, bool accumulate,
            const Tensor& bias) {
  const bool at = ta == Transpose::yes, bt = tb == Transpose::yes;
  MatmulArgs args{};
  args.in = a.dtype();
  args.out = out.dtype();
  args.transpose_a = at;
  args.transpose_b = bt;
  args.m = at ? a.columns() : a.rows();
  args.k = at ? a.rows() : a.columns();
  args.n = bt ? b.rows() : b.columns();
  PSCALE_CHECK((bt ? b.columns() : b.rows()) == args.k && out.rows() == args.m && out.columns() == args.n,
               to_string(a.shape()), at ? "^T" : "", " x ", to_string(b.shape()), bt ? "^T" : "", " -> ",
               to_string(out.shape()));
  PSCALE_CHECK(a.dtype() == b.dtype() && (out.dtype() == a.dtype() || (a.dtype() == DType::bfloat16 &&
                                                                       out.dtype() == DType::float32)),
               name_of(a.dtype()), " x ", name_of(b.dtype()), " -> ", name_of(out.dtype()));
  PSCALE_CHECK(!bias.defined() || (!accumulate && bias.shape() == Shape{args.n} && bias.dtype() == a.dtype()),
               "bias does not fit");
  if (args.m == 0 || args.n == 0) return;
  args.a = a.address();
  args.lda = a.row_stride();
  args.b = b.address();
  args.ldb = b.row_stride();
  args.c = out.address();
  args.ldc = out.row_stride();
  args.accumulate = accumulate;
  args.bias = bias.defined() ? bias.address() : nullptr;
  kernels<MatmulKernels>(a.device()).matmul(args);
}

}  // namespace pscale
