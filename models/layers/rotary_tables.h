// The tables of the rotary operator, on the device.
#pragma once

#include "core/ops/rotary.h"
#include "models/layers/rotary_angles.h"

namespace pscale {

/// cos and sin [positions, D/2] of the angles, in the type the rotary operator reads for activations of `dtype`:
/// float64 for float64, else float32.
RotaryTable rotary_table(const Device& device, const RotaryAngles& angles, int64_t positions, DType dtype);

}  // namespace pscale
