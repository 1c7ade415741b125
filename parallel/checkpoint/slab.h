// Copying between rectangular parts of one tensor. Plain arithmetic.
#pragma once

#include <optional>

#include "core/tensor/dtype.h"
#include "parallel/mesh/placement.h"

namespace pscale {

int64_t elements_of(const Hyperslab& slab);
/// The part of `slice` whose position is `part` (relative to the slice), as a part of the whole.
Hyperslab within(const Hyperslab& slice, const Hyperslab& part);
/// What two parts of one tensor have in common; nothing where that is empty.
std::optional<Hyperslab> intersection(const Hyperslab& a, const Hyperslab& b);

/// Copies elements [first, first + count) of the part `from`, counted in its row-major order and lying at `source`, to
/// where they belong in the part `to`, whose memory `target` is dense and row-major. Elements outside `to` are left out.
/// Converts between floating dtypes. Returns the number of elements copied.
int64_t copy_range(const Hyperslab& from, int64_t first, int64_t count, const void* source, DType source_type,
                   const Hyperslab& to, void* target, DType target_type);

}  // namespace pscale
