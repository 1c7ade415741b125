#include "models/layers/rotary_tables.h"

namespace pscale {

RotaryTable rotary_table(const Device& device, const RotaryAngles& angles, int64_t positions, DType dtype) {
  const AngleTable table = angle_table(angles, positions);
  const DType type = dtype == DType::float64 ? DType::float64 : DType::float32;
  return {Tensor::of(device, {positions, table.half}, type, table.cos),
          Tensor::of(device, {positions, table.half}, type, table.sin)};
}

}  // namespace pscale
