#include "launch/parity/whole.h"

#include "core/tensor/accumulate.h"

namespace pscale {

namespace {

/// Calls f(offset in the slab, offset in the whole, length) for each row of a slab of a tensor of `shape`.
template <class F>
void for_rows(const Shape& shape, const Hyperslab& slab, F&& f) {
  const size_t dims = shape.size();
  const int64_t width = slab.count[dims - 1];
  const int64_t rows = width == 0 ? 0 : elements_of(slab.count) / width;
  for (int64_t row = 0; row < rows; ++row) {
    int64_t rest = row, offset = slab.start[dims - 1], scale = shape[dims - 1];
    for (size_t dim = dims - 1; dim-- > 0;) {
      offset += (slab.start[dim] + rest % slab.count[dim]) * scale;
      rest /= slab.count[dim];
      scale *= shape[dim];
    }
    f(row * width, offset, width);
  }
}

}  // namespace

std::map<std::string, std::vector<float>> gather_whole(Training& training, const Mesh& mesh, Which which) {
  std::map<std::string, std::vector<float>> whole;
  for (const Parameter& p : training.parameters().all())
    if (p.trainable()) whole[p.spec().name].resize(static_cast<size_t>(elements_of(p.spec().shape)));
  for (OwnedPiece* piece : training.buckets().pieces()) {
    const Parameter& p = *piece->parameter;
    const Tensor source = which == Which::weight ? piece->of(p.local()) : piece->gradient;
    const Tensor values = Tensor::empty(source.device(), source.shape(), DType::float32);
    convert(values, source);
    Hyperslab slab = p.slab();
    slab.start[static_cast<size_t>(piece->dim)] += piece->start;
    slab.count[static_cast<size_t>(piece->dim)] = piece->length;
    float* out = whole[p.spec().name].data();
    for_rows(p.spec().shape, slab, [&](int64_t from, int64_t to, int64_t length) {
      std::copy_n(values.data<float>() + from, length, out + to);
    });
  }
  for (auto& [name, values] : whole)  // every element has one owner, the others hold zero
    mesh.group(AxisSet::all())
        .all_reduce(values.data(), static_cast<int64_t>(values.size()), DType::float32, Reduction::sum,
                    Purpose{"gather_whole"})
        .wait();
  return whole;
}

void assign_whole(Training& training, const std::function<std::vector<float>(const ParameterSpec&)>& values) {
  for (Parameter& p : training.parameters().all()) {
    const std::vector<float> whole = values(p.spec());
    std::vector<float> slice(static_cast<size_t>(elements_of(p.slab().count)));
    for_rows(p.spec().shape, p.slab(), [&](int64_t to, int64_t from, int64_t length) {
      std::copy_n(whole.data() + from, length, slice.data() + to);
    });
    training.optimizer().assign(p, slice);
  }
}

}  // namespace pscale
