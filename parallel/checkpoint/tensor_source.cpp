#include "parallel/checkpoint/tensor_source.h"

#include <algorithm>

#include "parallel/checkpoint/slab.h"

namespace pscale {

namespace {
constexpr int64_t kBufferBytes = int64_t{4} << 20;
}

void load_weights(TensorSource& source, const std::vector<StateTensor>& weights, const std::function<void()>& between) {
  std::vector<std::byte> buffer;
  for (const StateTensor& w : weights) {
    const TensorSource::Info& info = source.tensors().at(w.spec->name);
    // Dim 0 is the same in files, and a row holds the same elements in the same order.
    const Shape& shape = w.spec->shape;
    PSCALE_CHECK(info.shape[0] == shape[0], w.spec->name, ": ", to_string(info.shape), " for ", to_string(shape));
    const int64_t row = elements_of(shape) / shape[0];
    const int64_t block = std::max<int64_t>(1, kBufferBytes / (row * size_of(info.dtype)));
    const int64_t end = w.slab.start[0] + w.slab.count[0];
    for (int64_t first = w.slab.start[0]; first < end; first += block) {
      if (between) between();
      const int64_t rows = std::min(block, end - first);
      buffer.resize(static_cast<size_t>(rows * row * size_of(info.dtype)));
      source.read_rows(w.spec->name, first, rows, buffer.data());
      Hyperslab part{Shape(shape.size(), 0), shape};
      part.start[0] = first;
      part.count[0] = rows;
      copy_range(part, 0, rows * row, buffer.data(), info.dtype, w.slab, w.tensor.address(), w.tensor.dtype());
    }
  }
}

}  // namespace pscale
