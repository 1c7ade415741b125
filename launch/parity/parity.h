// A golden case run under a layout, and held against what is expected.
#pragma once

#include "launch/parity/golden.h"
#include "launch/parity/whole.h"

namespace pscale {

struct ParityOptions {
  DType dtype = DType::float32;
  Recompute recompute = Recompute::none;
  int64_t accumulate = 1;       ///< micro-batches a step
  int64_t bucket_bytes = 4096;  ///< small, so that small cases fill several buckets
};

/// What the program computed, whole; the same on every rank.
struct ParityResult {
  std::vector<int64_t> logits_shape;
  std::vector<float> logits;
  double loss = 0;
  std::map<std::string, std::vector<float>> gradients, trained;
  std::vector<double> losses, grad_norms;
};

ParityResult run_golden_case(const GoldenCase& golden, const Device& device, const Mesh& mesh,
                             const ParityOptions& options);

/// One comparison: what it is, the largest error, in its own measure, and what is allowed.
struct ParityError {
  std::string what;
  double error = 0, allowed = 0;
  std::string where;  ///< the tensor or step with the largest error
  bool passed() const { return error <= allowed; }
};

/// The tolerances of float32 as docs/numerics.md states them, or the looser ones of bfloat16.
std::vector<ParityError> compare(const GoldenCase& golden, const ParityResult& result, DType dtype);

}  // namespace pscale
