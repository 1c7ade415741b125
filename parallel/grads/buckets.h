// Gradient reduction while backward still runs.
//
// Parameters whose slices are held by the same ranks are collected, last used first, into buckets. When backward has
// used a bucket's weights for the last time in the last micro-batch, its gradients are packed by owner and a
// reduce-scatter starts; each rank ends up with the sums of the pieces it owns. Progress is driven by the
// communicator's thread. A parameter that only this rank holds is not copied at all.
#pragma once

#include <vector>

#include "parallel/grads/parameter.h"

namespace pscale {

/// The piece of a parameter's slice that this rank owns: a cut of its longest dim.
struct OwnedPiece {
  Parameter* parameter = nullptr;
  int dim = 0;
  int64_t start = 0, length = 0;  ///< along `dim`, relative to the slice; length 0 where this rank owns nothing
  Tensor gradient;                ///< the reduced sum; defined between finish() and clear()

  /// This rank's piece of a tensor shaped like the parameter's slice: a view, as a strided matrix whose rows are the
  /// dims before the cut one.
  Tensor of(const Tensor& local) const;
};

class GradientBuckets {
 public:
  /// `bucket_bytes`: a bucket is closed when its gradients reach this size.
  GradientBuckets(ParameterSet& parameters, int64_t bucket_bytes);
  ~GradientBuckets();
  GradientBuckets(const GradientBuckets&) = delete;
  GradientBuckets& operator=(const GradientBuckets&) = delete;

  /// Before the backward pass of the last micro-batch of a step: from now on a complete bucket is sent.
  void start_last_micro_batch();
  /// Sends what is left (weights no gradient reached) and waits. Afterwards pieces() hold the reduced gradients.
  void finish();
  /// Frees the gradients, when the optimizer has used them.
  void clear();

  /// The pieces this rank owns, in an order that is the same in every step. Empty pieces are left out.
  std::vector<OwnedPiece*> pieces();

  /// A run of parameters reduced by one collective.
  struct Bucket {
    AxisSet axes;
    Communicator* group = nullptr;
    std::vector<Parameter*> parameters;
    std::vector<int> cut_dim;              ///< per parameter
    std::vector<int64_t> offset;           ///< of each parameter's piece within an owner's part
    int64_t part = 0;                      ///< elements of one owner's part, padded to the largest
    std::vector<OwnedPiece> pieces;        ///< of this rank, one per parameter
    int waiting = 0;                       ///< parameters whose gradients are not complete
    bool sent = false;
    Tensor packed, reduced;
    Request request;
    /// Part `owner` of a slice-shaped tensor: a strided view [rows, columns].
    Tensor piece(size_t parameter, const Tensor& local, int owner) const;
  };
  const std::vector<std::unique_ptr<Bucket>>& buckets() const { return buckets_; }

 private:
  void complete(Bucket& bucket);
  void send(Bucket& bucket);

  const Device* device_;
  DType dtype_;  // of the sums
  std::vector<std::unique_ptr<Bucket>> buckets_;
  bool last_ = false;
};

}  // namespace pscale
