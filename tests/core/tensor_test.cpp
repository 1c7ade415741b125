#include "core/tensor/tensor.h"

#include <gtest/gtest.h>

#include <cmath>

#include "core/tensor/accumulate.h"
#include "tests/core/devices.h"

namespace pscale {
namespace {

TEST(Tensor, ViewsShareMemory) {
  const Device cpu = Device::cpu();
  const Tensor t = Tensor::of(cpu, {3, 4}, DType::float32, {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11});
  EXPECT_EQ(t.narrow(1, 2).to_vector(), (std::vector<double>{4, 5, 6, 7, 8, 9, 10, 11}));
  const Tensor columns = t.columns(1, 2);
  EXPECT_EQ(columns.to_vector(), (std::vector<double>{1, 2, 5, 6, 9, 10}));
  EXPECT_FALSE(columns.contiguous());
  EXPECT_EQ(columns.row_stride(), 4);
  EXPECT_EQ(columns.narrow(2, 1).to_vector(), (std::vector<double>{9, 10}));
  const Tensor cube = Tensor::of(cpu, {2, 3, 2}, DType::float32, {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11});
  EXPECT_EQ(cube.part(1, 1, 2).to_vector(), (std::vector<double>{2, 3, 4, 5, 8, 9, 10, 11}));
  EXPECT_EQ(cube.part(0, 1, 1).to_vector(), (std::vector<double>{6, 7, 8, 9, 10, 11}));
  EXPECT_EQ(cube.part(2, 0, 1).shape(), (Shape{6, 1}));
  EXPECT_TRUE(t.shares_memory_with(columns));
  EXPECT_FALSE(t.sole_owner());
  EXPECT_EQ(t.reshape({2, -1}).shape(), (Shape{2, 6}));
  EXPECT_THROW(columns.reshape({6}), InvariantError);
  EXPECT_THROW(t.narrow(2, 2), InvariantError);
  EXPECT_THROW(t.data<double>(), InvariantError);
}

TEST(Tensor, CopiesBetweenStrides) {
  const Device cpu = Device::cpu();
  const Tensor from = Tensor::of(cpu, {2, 2}, DType::int32, {1, 2, 3, 4});
  const Tensor into = Tensor::zeros(cpu, {2, 3}, DType::int32);
  into.columns(1, 2).copy_from(from);
  EXPECT_EQ(into.to_vector(), (std::vector<double>{0, 1, 2, 0, 3, 4}));
}

TEST(BFloat16, RoundsToNearestEven) {
  EXPECT_EQ(static_cast<float>(bfloat16(1.0f)), 1.0f);
  EXPECT_EQ(static_cast<float>(bfloat16(1.00390625f)), 1.0f);      // halfway, to even
  EXPECT_EQ(static_cast<float>(bfloat16(1.01171875f)), 1.015625f);  // halfway, to even
  EXPECT_TRUE(std::isnan(static_cast<float>(bfloat16(std::nanf("")))));
}

TEST(Accumulate, MixesTypesAndStrides) {
  for (const auto& cpu : testing::cpu_devices()) {
    const Tensor into = Tensor::of(*cpu, {2, 3}, DType::float32, {1, 2, 3, 4, 5, 6});
    const Tensor part = Tensor::of(*cpu, {2, 2}, DType::bfloat16, {10, 20, 30, 40});
    accumulate(into.columns(1, 2), part);
    EXPECT_EQ(into.to_vector(), (std::vector<double>{1, 12, 23, 4, 35, 46})) << cpu->name();
    const Tensor wide = Tensor::empty(*cpu, {2, 3}, DType::float64);
    convert(wide, into);
    EXPECT_EQ(wide.to_vector(), into.to_vector());
  }
}

TEST(Accumulate, LongRowsAreCutEvenly) {
  for (const auto& cpu : testing::cpu_devices()) {
    const int64_t n = 8 * 4096;
    std::vector<double> values(static_cast<size_t>(n));
    for (size_t i = 0; i < values.size(); ++i) values[i] = static_cast<double>(i % 1000);
    const Tensor a = Tensor::of(*cpu, {n}, DType::float32, values), b = Tensor::of(*cpu, {n}, DType::float32, values);
    accumulate(a, b);
    for (size_t i = 0; i < values.size(); i += 37) ASSERT_EQ(a.item(static_cast<int64_t>(i)), 2 * values[i]);
  }
}

TEST(Allocator, ReusesSplitsAndMerges) {
  CachingAllocator allocator(host_memory());
  void* a = allocator.allocate(1 << 20, MemoryKind::weights);
  void* b = allocator.allocate(1 << 20, MemoryKind::activations);
  void* c = allocator.allocate(1 << 20, MemoryKind::activations);
  const int64_t reserved = allocator.reserved();
  EXPECT_EQ(allocator.stats().current, 3 << 20);
  allocator.release(b);
  allocator.release(a);  // merges with b
  void* d = allocator.allocate(2 << 20, MemoryKind::gradients);
  EXPECT_EQ(d, a);
  EXPECT_EQ(allocator.reserved(), reserved);
  EXPECT_EQ(allocator.stats(MemoryKind::weights).current, 0);
  EXPECT_EQ(allocator.stats(MemoryKind::weights).peak, 1 << 20);
  EXPECT_EQ(allocator.stats(MemoryKind::gradients).current, 2 << 20);
  EXPECT_EQ(allocator.stats().peak, 3 << 20);
  allocator.release(c);
  allocator.release(d);
  EXPECT_EQ(allocator.stats().current, 0);
  allocator.reset_peaks();
  EXPECT_EQ(allocator.stats().peak, 0);
}

TEST(Allocator, GivesAlignedWritableMemoryOfAnySize) {
  CachingAllocator allocator(host_memory());
  std::vector<void*> blocks;
  for (size_t bytes = 0; bytes < 100; bytes += 7) {
    void* block = allocator.allocate(bytes, MemoryKind::activations);
    EXPECT_EQ(reinterpret_cast<uintptr_t>(block) % 64, 0u);
    std::memset(block, 1, bytes);
    blocks.push_back(block);
  }
  void* large = allocator.allocate(size_t{100} << 20, MemoryKind::activations);
  static_cast<char*>(large)[(size_t{100} << 20) - 1] = 1;
  blocks.push_back(large);
  for (void* block : blocks) allocator.release(block);
  EXPECT_EQ(allocator.stats().current, 0);
}

}  // namespace
}  // namespace pscale
