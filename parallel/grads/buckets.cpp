#include "parallel/grads/buckets.h"

#include <algorithm>
#include <map>

#include "core/tensor/accumulate.h"
#include "parallel/ops/collectives.h"

namespace pscale {

namespace {

constexpr Purpose kGradients{"gradients"};

int longest_dim(const Shape& shape) {
  return static_cast<int>(std::max_element(shape.begin(), shape.end()) - shape.begin());
}

}  // namespace

Tensor OwnedPiece::of(const Tensor& local) const {
  return local.narrow(0, parameter->slab().count[0]).part(dim, start, length);
}

Tensor GradientBuckets::Bucket::piece(size_t i, const Tensor& local, int owner) const {
  const Shape& shape = parameters[i]->slab().count;
  const Hyperslab slab = owner_piece(shape, group->size(), owner);
  const int dim = cut_dim[i];
  return local.narrow(0, shape[0]).part(dim, slab.start[static_cast<size_t>(dim)], slab.count[static_cast<size_t>(dim)]);
}

GradientBuckets::GradientBuckets(ParameterSet& parameters, int64_t bucket_bytes)
    : device_(&parameters.device()),
      dtype_(parameters.dtype() == DType::float64 ? DType::float64 : DType::float32) {
  // Backward uses the last declared weights first.
  std::map<AxisSet, Bucket*> open;
  auto& all = parameters.all();
  for (auto it = all.rbegin(); it != all.rend(); ++it) {
    if (!it->trainable()) continue;
    Bucket*& bucket = open[it->replicated_over()];
    if (bucket == nullptr) {
      buckets_.push_back(std::make_unique<Bucket>());
      bucket = buckets_.back().get();
      bucket->axes = it->replicated_over();
      bucket->group = &parameters.mesh().group(bucket->axes);
    }
    const Shape& shape = it->slab().count;
    const int dim = longest_dim(shape), owners = bucket->group->size();
    const int64_t largest = elements_of(owner_piece(shape, owners, 0).count);
    const Hyperslab own = owner_piece(shape, owners, bucket->group->rank());
    bucket->parameters.push_back(&*it);
    bucket->cut_dim.push_back(dim);
    bucket->offset.push_back(bucket->part);
    OwnedPiece piece;
    piece.parameter = &*it;
    piece.dim = dim;
    piece.start = own.start[static_cast<size_t>(dim)];
    piece.length = own.count[static_cast<size_t>(dim)];
    bucket->pieces.push_back(piece);
    bucket->part += largest;
    if (bucket->part * owners * size_of(dtype_) >= bucket_bytes) bucket = nullptr;
  }
  for (auto& bucket : buckets_) {
    bucket->waiting = static_cast<int>(bucket->parameters.size());
    for (Parameter* p : bucket->parameters) p->gradient()->on_complete([this, b = bucket.get()] { complete(*b); });
  }
}

GradientBuckets::~GradientBuckets() {
  for (auto& bucket : buckets_)
    for (Parameter* p : bucket->parameters) p->gradient()->on_complete(nullptr);
}

void GradientBuckets::start_last_micro_batch() {
  last_ = true;
  for (auto& bucket : buckets_) {
    bucket->waiting = static_cast<int>(bucket->parameters.size());
    bucket->sent = false;
  }
}

void GradientBuckets::complete(Bucket& bucket) {
  if (last_ && --bucket.waiting == 0) send(bucket);
}

void GradientBuckets::send(Bucket& bucket) {
  bucket.sent = true;
  const int owners = bucket.group->size();
  if (owners == 1) return;
  bucket.packed = Tensor::empty(*device_, {owners, bucket.part}, dtype_, MemoryKind::communication);
  for (size_t i = 0; i < bucket.parameters.size(); ++i) {
    Gradient& gradient = *bucket.parameters[i]->gradient();
    for (int owner = 0; owner < owners; ++owner) {
      const Tensor row = bucket.packed.narrow(owner, 1).reshape({-1});
      const int64_t offset = bucket.offset[i];
      const int64_t end = i + 1 < bucket.offset.size() ? bucket.offset[i + 1] : bucket.part;
      const Tensor place = row.columns(offset, end - offset);
      if (!gradient.defined()) {
        place.fill_zero();
        continue;
      }
      const Tensor piece = bucket.piece(i, gradient.value(), owner);
      if (piece.elements() > 0) convert(place.columns(0, piece.elements()).reshape(piece.shape()), piece);
      if (piece.elements() < end - offset)  // padding to the largest owner's piece
        place.columns(piece.elements(), end - offset - piece.elements()).fill_zero();
    }
    gradient.clear();
  }
  bucket.reduced = Tensor::empty(*device_, {1, bucket.part}, dtype_, MemoryKind::gradients);
  bucket.request = reduce_scatter_into(bucket.packed, bucket.reduced, *bucket.group, kGradients);
}

void GradientBuckets::finish() {
  for (auto& bucket : buckets_)
    if (!bucket->sent) send(*bucket);
  last_ = false;
  for (auto& bucket : buckets_) {
    const bool shared = bucket->group->size() > 1;
    if (shared) bucket->request.wait();
    bucket->packed = {};
    for (size_t i = 0; i < bucket->pieces.size(); ++i) {
      OwnedPiece& piece = bucket->pieces[i];
      if (piece.length == 0) continue;
      if (shared) {
        const Shape shape = piece.of(piece.parameter->local()).shape();
        piece.gradient =
            bucket->reduced.reshape({-1}).columns(bucket->offset[i], elements_of(shape)).reshape(shape);
      } else {
        Gradient& gradient = *piece.parameter->gradient();
        const Gradient::Target whole = gradient.target();
        if (!whole.accumulate) whole.tensor.fill_zero();
        piece.gradient = piece.of(whole.tensor);
      }
    }
  }
}

void GradientBuckets::clear() {
  for (auto& bucket : buckets_) {
    bucket->reduced = {};
    for (OwnedPiece& piece : bucket->pieces) {
      piece.gradient = {};
      piece.parameter->gradient()->clear();
    }
  }
}

std::vector<OwnedPiece*> GradientBuckets::pieces() {
  std::vector<OwnedPiece*> owned;
  for (auto& bucket : buckets_)
    for (OwnedPiece& piece : bucket->pieces)
      if (piece.length > 0) owned.push_back(&piece);
  return owned;
}

}  // namespace pscale
