#include "core/tensor/device.h"

#include "core/base/errors.h"
#include "core/tensor/dispatch.h"

namespace pscale {

namespace {

bool has(Isa isa) {
  return isa == Isa::avx512 ? __builtin_cpu_supports("x86-64-v4") : __builtin_cpu_supports("x86-64-v3");
}

}  // namespace

Device Device::cpu() { return cpu(has(Isa::avx512) ? Isa::avx512 : Isa::avx2); }

Device Device::cpu(Isa isa) {
  if (!has(isa))
    throw UserError(isa == Isa::avx512 ? "this processor has no AVX-512"
                                       : "this processor has no AVX2, which pscale needs on CPU");
  return Device(DeviceKind::cpu, isa, 0, std::make_unique<CachingAllocator>(host_memory()));
}

Device Device::planning() {
  Device device(DeviceKind::cpu, Isa::avx2, 0, std::make_unique<CachingAllocator>(host_memory()));
  device.plans_only_ = true;
  return device;
}

#ifndef PSCALE_CUDA
void throw_without_cuda() {
  throw UserError("run.device = \"cuda\": this program was built without CUDA; use run.device = \"cpu\"");
}
Device Device::cuda(int) { throw_without_cuda(); }
#endif

std::string Device::name() const {
  if (plans_only_) return "plan";
  if (kind_ == DeviceKind::cuda) return cat("cuda:", index_);
  return isa_ == Isa::avx512 ? "cpu (AVX-512)" : "cpu (AVX2)";
}

}  // namespace pscale
