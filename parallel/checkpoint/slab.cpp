#include "parallel/checkpoint/slab.h"

#include <algorithm>
#include <cstring>

namespace pscale {

int64_t elements_of(const Hyperslab& slab) {
  int64_t count = 1;
  for (const int64_t size : slab.count) count *= size;
  return count;
}

Hyperslab within(const Hyperslab& slice, const Hyperslab& part) {
  Hyperslab slab = part;
  for (size_t dim = 0; dim < slab.start.size(); ++dim) slab.start[dim] += slice.start[dim];
  return slab;
}

std::optional<Hyperslab> intersection(const Hyperslab& a, const Hyperslab& b) {
  Hyperslab common = a;
  for (size_t dim = 0; dim < a.start.size(); ++dim) {
    const int64_t begin = std::max(a.start[dim], b.start[dim]);
    const int64_t end = std::min(a.start[dim] + a.count[dim], b.start[dim] + b.count[dim]);
    if (begin >= end) return std::nullopt;
    common.start[dim] = begin;
    common.count[dim] = end - begin;
  }
  return common;
}

namespace {

void convert_run(const void* source, DType source_type, void* target, DType target_type, int64_t count) {
  if (source_type == target_type) {
    std::memcpy(target, source, static_cast<size_t>(count * size_of(source_type)));
    return;
  }
  dispatch_float(source_type, [&]<class S>(S) {
    dispatch_float(target_type, [&]<class T>(T) {
      const S* from = static_cast<const S*>(source);
      T* to = static_cast<T*>(target);
      for (int64_t i = 0; i < count; ++i) to[i] = T(static_cast<accumulate_t<S>>(from[i]));
    });
  });
}

}  // namespace

int64_t copy_range(const Hyperslab& from, int64_t first, int64_t count, const void* source, DType source_type,
                   const Hyperslab& to, void* target, DType target_type) {
  // Rows are the trailing dims that both parts cover alike, and the last dim where they part: one run each.
  const size_t dims = from.start.size();
  size_t row_dim = dims - 1;
  int64_t inner = 1;  // elements of one step along row_dim
  while (row_dim > 0 && from.start[row_dim] == to.start[row_dim] && from.count[row_dim] == to.count[row_dim])
    inner *= from.count[row_dim--];
  const int64_t row = from.count[row_dim] * inner;
  int64_t copied = 0;
  for (int64_t at = first; at < first + count;) {
    const int64_t begin = at % row, end = std::min(row, begin + (first + count - at));
    int64_t rest = at / row, base = 0, scale = to.count[row_dim] * inner;
    bool inside = true;
    for (size_t dim = row_dim; dim-- > 0;) {
      const int64_t index = from.start[dim] + rest % from.count[dim] - to.start[dim];
      rest /= from.count[dim];
      inside = inside && index >= 0 && index < to.count[dim];
      base += index * scale;
      scale *= to.count[dim];
    }
    if (inside) {
      const int64_t shift = (from.start[row_dim] - to.start[row_dim]) * inner;  // of a place in `from`'s row in `to`'s
      const int64_t left = std::max(begin, -shift), right = std::min(end, to.count[row_dim] * inner - shift);
      if (left < right) {
        convert_run(static_cast<const char*>(source) + (at - first + left - begin) * size_of(source_type), source_type,
                    static_cast<char*>(target) + (base + shift + left) * size_of(target_type), target_type, right - left);
        copied += right - left;
      }
    }
    at += end - begin;
  }
  return copied;
}

}  // namespace pscale
