// The devices a kernel is tested on: the CPU with each instruction set it has.
#pragma once

#include <memory>
#include <vector>

#include "core/tensor/device.h"
#include "core/base/errors.h"

namespace pscale::testing {

inline std::vector<std::unique_ptr<Device>> cpu_devices() {
  std::vector<std::unique_ptr<Device>> devices;
  for (const Isa isa : {Isa::avx2, Isa::avx512}) {
    try {
      devices.push_back(std::make_unique<Device>(Device::cpu(isa)));
    } catch (const UserError&) {
      if (isa == Isa::avx2) throw;
    }
  }
  return devices;
}

}  // namespace pscale::testing
