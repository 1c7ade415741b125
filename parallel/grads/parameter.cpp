#include "parallel/grads/parameter.h"

#include "core/base/random.h"

namespace pscale {

Tensor Parameter::valid() const { return local_.narrow(0, slab_.count[0]); }

Parameter& ParameterSet::declare(ParameterSpec spec) {
  Parameter& p = parameters_.emplace_back();
  const Layout& layout = mesh_->layout();
  p.slab_ = local_slab(spec.shape, spec.placement, layout, mesh_->coordinates());
  const Shape padded = local_shape(spec.shape, spec.placement, layout);
  for (size_t dim = 1; dim < padded.size(); ++dim)
    PSCALE_CHECK(padded[dim] == p.slab_.count[dim], spec.name, ": dim ", dim, " does not divide");
  p.replicated_over_ = spec.placement.axes().complement();
  p.local_ = Tensor::zeros(*device_, padded, dtype_, MemoryKind::weights);
  if (spec.added || !freeze_) {
    const DType sums = dtype_ == DType::float64 ? DType::float64 : DType::float32;
    p.gradient_ = std::make_shared<Gradient>(*device_, padded, sums, MemoryKind::gradients);
  }
  p.spec_ = std::move(spec);
  return p;
}

Parameter& ParameterSet::named(const std::string& name) {
  for (Parameter& p : parameters_)
    if (p.spec().name == name) return p;
  throw InvariantError(__FILE__, __LINE__, cat("no parameter is named ", name));
}

std::vector<float> initial_values(const ParameterSpec& spec, const Hyperslab& slab, uint64_t seed) {
  std::vector<float> values(static_cast<size_t>(elements_of(slab.count)));
  if (spec.initializer.kind == Initializer::Kind::zeros) return values;
  if (spec.initializer.kind == Initializer::Kind::ones) {
    std::fill(values.begin(), values.end(), 1.0f);
    return values;
  }
  const RandomStream random(seed, spec.name);
  // Walks the slab's rows; `index` counts all dims but the last.
  const size_t dims = spec.shape.size();
  const int64_t width = slab.count[dims - 1];
  const int64_t rows = width == 0 ? 0 : static_cast<int64_t>(values.size()) / width;
#pragma omp parallel for schedule(static)
  for (int64_t row = 0; row < rows; ++row) {
    int64_t rest = row, offset = slab.start[dims - 1], scale = spec.shape[dims - 1];
    for (size_t dim = dims - 1; dim-- > 0;) {
      offset += (slab.start[dim] + rest % slab.count[dim]) * scale;
      rest /= slab.count[dim];
      scale *= spec.shape[dim];
    }
    for (int64_t c = 0; c < width; ++c)
      values[static_cast<size_t>(row * width + c)] =
          static_cast<float>(spec.initializer.deviation) * random.normal(static_cast<uint64_t>(offset + c));
  }
  return values;
}

}  // namespace pscale
