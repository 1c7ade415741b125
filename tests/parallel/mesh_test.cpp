#include "parallel/mesh/mesh.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <set>

#include "parallel/comm/planned.h"
#include "parallel/comm/self.h"
#include "parallel/grads/parameter.h"
#include "parallel/mesh/placement.h"

namespace pscale {
namespace {

std::vector<Layout> some_layouts() {
  return {{1, 1, 1}, {2, 1, 1}, {1, 2, 1}, {1, 1, 2}, {2, 2, 2}, {3, 2, 1}, {2, 3, 2}, {1, 4, 2}, {4, 2, 3}};
}

TEST(Layout, RanksFollowTheFormula) {
  for (const Layout& layout : some_layouts())
    for (int64_t rank = 0; rank < layout.world(); ++rank) {
      const Coordinates at = layout.coordinates_of(rank);
      EXPECT_EQ(rank, (at.data * layout.replica + at.replica) * layout.tensor + at.tensor);
      EXPECT_EQ(layout.rank_of(at), rank);
    }
}

TEST(Layout, GroupsPartTheWorld) {
  for (const Layout& layout : some_layouts())
    for (const AxisSet axes : layout.groups()) {
      std::multiset<int64_t> seen;
      for (int64_t rank = 0; rank < layout.world(); ++rank) {
        const std::vector<int64_t> members = layout.members(axes, rank);
        EXPECT_EQ(static_cast<int64_t>(members.size()), layout.size(axes));
        EXPECT_TRUE(std::is_sorted(members.begin(), members.end()));
        EXPECT_EQ(std::count(members.begin(), members.end(), rank), 1);
        if (members.front() == rank) seen.insert(members.begin(), members.end());
      }
      EXPECT_EQ(static_cast<int64_t>(seen.size()), layout.world());
    }
}

TEST(Layout, ZerosAreChosen) {
  const ModelDegrees p4{.replicas = 4, .heads = 8, .kv_heads = 2, .intermediate = 64};
  EXPECT_EQ(resolve_layout({0, 0, 1}, 8, p4), (Layout{2, 4, 1}));
  EXPECT_EQ(resolve_layout({0, 0, 2}, 8, p4), (Layout{1, 4, 2}));
  EXPECT_EQ(resolve_layout({4, 0, 1}, 8, p4), (Layout{4, 2, 1}));
  EXPECT_EQ(resolve_layout({0, 0, 1}, 6, p4), (Layout{3, 2, 1}));
  EXPECT_EQ(resolve_layout({0, 0, 1}, 8, {.replicas = 1, .heads = 8, .kv_heads = 2, .intermediate = 64}), (Layout{8, 1, 1}));
  EXPECT_EQ(resolve_layout({0, 1, 8}, 8, p4), (Layout{1, 1, 8}));  // 2 key/value heads divide 8
}

TEST(Layout, AllProblemsAreNamedAtOnceWithLayoutsThatFit) {
  const ModelDegrees model{.replicas = 4, .heads = 6, .kv_heads = 3, .intermediate = 9};
  try {
    resolve_layout({1, 3, 2}, 8, model);
    FAIL();
  } catch (const UserError& e) {
    const std::string all = e.what();
    EXPECT_EQ(e.problems().size(), 4u) << all;  // kv heads, intermediate size, P, number of ranks
    for (const char* part : {"parallel.tensor = 2", "num_key_value_heads = 3", "intermediate_size = 9", "parallel.replica = 3",
                             "parscale_n = 4", "8", "2x4x1"})
      EXPECT_NE(all.find(part), std::string::npos) << part << " in " << all;
  }
}

TEST(Placement, EveryElementHasOneOwner) {
  const std::vector<std::pair<std::vector<int64_t>, Placement>> parameters = {
      {{7}, {}},
      {{12, 5}, {{Axis::tensor, 0}}},
      {{5, 12}, {{Axis::tensor, 1}}},
      {{13, 3}, {{Axis::tensor, 0}}},  // padded
      {{12, 2, 3, 4}, {{Axis::replica, 0}, {Axis::tensor, 1}}},
      {{4, 4, 12}, {{Axis::replica, 2}}},
      {{1, 1}, {}}};
  for (const Layout& layout : some_layouts())
    for (const auto& [shape, placement] : parameters) {
      std::vector<int> owners(static_cast<size_t>(elements_of(shape)), 0);
      for (int64_t rank = 0; rank < layout.world(); ++rank) {
        const Hyperslab slab = local_slab(shape, placement, layout, layout.coordinates_of(rank));
        const std::vector<int64_t> group = layout.members(placement.axes().complement(), rank);
        const auto index = std::find(group.begin(), group.end(), rank) - group.begin();
        const Hyperslab piece = owner_piece(slab.count, static_cast<int64_t>(group.size()), index);
        for (int64_t i = 0; i < elements_of(piece.count); ++i) {
          int64_t rest = i, offset = 0, scale = 1;
          for (size_t dim = shape.size(); dim-- > 0;) {
            offset += (slab.start[dim] + piece.start[dim] + rest % piece.count[dim]) * scale;
            rest /= piece.count[dim];
            scale *= shape[dim];
          }
          ++owners[static_cast<size_t>(offset)];
        }
        for (size_t dim = 0; dim < shape.size(); ++dim)
          EXPECT_LE(slab.count[dim], local_shape(shape, placement, layout)[dim]);
      }
      for (const int count : owners) ASSERT_EQ(count, 1) << to_string(layout) << " " << to_string(shape);
    }
}

TEST(InitialValues, DoNotDependOnTheLayout) {
  const ParameterSpec spec{.name = "w", .shape = {6, 4, 8}, .placement = {{Axis::replica, 2}, {Axis::tensor, 0}}};
  const std::vector<float> whole = initial_values(spec, {{0, 0, 0}, spec.shape}, 42);
  const Layout layout{1, 2, 3};
  for (int64_t rank = 0; rank < layout.world(); ++rank) {
    const Hyperslab slab = local_slab(spec.shape, spec.placement, layout, layout.coordinates_of(rank));
    const std::vector<float> part = initial_values(spec, slab, 42);
    size_t at = 0;
    for (int64_t i = 0; i < slab.count[0]; ++i)
      for (int64_t j = 0; j < slab.count[1]; ++j)
        for (int64_t k = 0; k < slab.count[2]; ++k)
          ASSERT_EQ(part[at++], whole[static_cast<size_t>(((slab.start[0] + i) * 4 + j) * 8 + slab.start[2] + k)]);
  }
  EXPECT_NE(initial_values(spec, {{0, 0, 0}, spec.shape}, 43), whole);
}

TEST(SelfCommunicator, CopiesOnlyWhereItMust) {
  SelfCommunicator self;
  float in[3] = {1, 2, 3}, out[3] = {};
  EXPECT_TRUE(self.all_gather(in, out, 3, DType::float32, Purpose{"test"}).done());
  EXPECT_EQ(out[2], 3);
  self.reduce_scatter(out, out, 3, DType::float32, Purpose{"test"}).wait();
  EXPECT_EQ(out[0], 1);
}

TEST(PlannedMesh, CountsWithoutSending) {
  const auto mesh = make_planned_mesh({2, 2, 2}, 5);
  EXPECT_EQ(mesh->coordinates().data, 1);
  EXPECT_EQ(mesh->coordinates().tensor, 1);
  Communicator& pair = mesh->group(Axis::replica);
  EXPECT_EQ(pair.rank(), 0);
  EXPECT_EQ(mesh->group(AxisSet::all()).size(), 8);
  pair.all_gather(nullptr, nullptr, 10, DType::bfloat16, Purpose{"test"}).wait();
  const auto counts = mesh->counters().snapshot();
  EXPECT_EQ(counts.at({Axis::replica, "test"}).elements, 10);
  EXPECT_EQ(counts.at({Axis::replica, "test"}).bytes, 20);
}

}  // namespace
}  // namespace pscale
