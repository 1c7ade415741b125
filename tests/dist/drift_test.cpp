// A bit that differs between ranks that must hold the same, in every layout, on every rank.
#include <cstring>

#include "parallel/grads/drift.h"
#include "tests/dist/world.h"

namespace pscale {
namespace {

const std::vector<ParameterSpec> kSpecs = {
    {.name = "embed", .shape = {13, 8}, .placement = {{Axis::tensor, 0}}},
    {.name = "norm", .shape = {8}},
    {.name = "prefix", .shape = {8, 8}, .placement = {{Axis::replica, 0}, {Axis::tensor, 1}}},
};

void flip_lowest_bit(const Tensor& tensor) {
  uint32_t bits = 0;
  float* last = tensor.data<float>() + tensor.elements() - 1;
  std::memcpy(&bits, last, sizeof bits);
  bits ^= 1;
  std::memcpy(last, &bits, sizeof bits);
}

TEST(Drift, NamesTheParameterAndTheRank) {
  const Device cpu = Device::cpu();
  for (const Layout& layout : testing::layouts()) {
    const auto mesh = testing::mesh_of(layout);
    ParameterSet parameters(cpu, *mesh, DType::float32, false);
    for (const ParameterSpec& spec : kSpecs) parameters.declare(spec);
    EXPECT_TRUE(drifted(*mesh, replicated_parameters(parameters)).empty());
    for (const ParameterSpec& spec : kSpecs) {
      const Parameter& p = parameters.named(spec.name);
      for (int64_t rank = 0; rank < layout.world(); ++rank) {
        if (mesh->rank() == rank) flip_lowest_bit(p.local());
        const auto problems = drifted(*mesh, replicated_parameters(parameters));
        if (mesh->rank() == rank) flip_lowest_bit(p.local());
        const std::vector<int64_t> holders = layout.members(p.replicated_over(), rank);
        if (holders.size() == 1) {
          EXPECT_TRUE(problems.empty()) << to_string(layout);
          continue;
        }
        ASSERT_EQ(problems.size(), 1u) << to_string(layout) << " " << spec.name << " " << rank;
        EXPECT_TRUE(problems[0].starts_with(spec.name)) << problems[0];
        const std::string expected = holders.size() > 2 ? cat(spec.name, " on rank ", rank, " differs from that of ranks ")
                                                        : cat(spec.name, " differs between rank ", holders[0], " and rank ", holders[1]);
        EXPECT_TRUE(problems[0].starts_with(expected)) << problems[0];
      }
    }
    EXPECT_TRUE(drifted(*mesh, replicated_parameters(parameters)).empty());
  }
}

TEST(Drift, ComparesOnlyRanksThatMustAgree) {
  for (const Layout& layout : testing::layouts()) {
    const auto mesh = testing::mesh_of(layout);
    const auto data = static_cast<uint64_t>(mesh->coordinates().data);
    const AxisSet others{Axis::replica, Axis::tensor};
    EXPECT_TRUE(drifted(*mesh, {{"samples", others, data}}).empty());
    EXPECT_EQ(drifted(*mesh, {{"position", AxisSet::all(), data}}).size(), layout.data > 1 ? 1u : 0u);
  }
}

}  // namespace
}  // namespace pscale
