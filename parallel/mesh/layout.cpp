#include "parallel/mesh/layout.h"

#include <algorithm>

#include "core/base/errors.h"

namespace pscale {

std::string name_of(Axis axis) {
  switch (axis) {
    case Axis::data: return "data";
    case Axis::replica: return "replica";
    case Axis::tensor: return "tensor";
  }
  return "";
}

std::string AxisSet::name() const {
  std::vector<std::string> names;
  for (const Axis axis : kAxes)
    if (contains(axis)) names.push_back(name_of(axis));
  return names.empty() ? "none" : join(names, "+");
}

int64_t Coordinates::of(Axis axis) const {
  return axis == Axis::data ? data : axis == Axis::replica ? replica : tensor;
}

int64_t Layout::size(Axis axis) const {
  return axis == Axis::data ? data : axis == Axis::replica ? replica : tensor;
}

int64_t Layout::size(AxisSet axes) const {
  int64_t product = 1;
  for (const Axis axis : kAxes)
    if (axes.contains(axis)) product *= size(axis);
  return product;
}

Coordinates Layout::coordinates_of(int64_t rank) const {
  return {rank / (tensor * replica), rank / tensor % replica, rank % tensor};
}

int64_t Layout::rank_of(const Coordinates& at) const { return (at.data * replica + at.replica) * tensor + at.tensor; }

std::vector<int64_t> Layout::members(AxisSet axes, int64_t rank) const {
  const Coordinates mine = coordinates_of(rank);
  std::vector<int64_t> ranks;
  for (int64_t other = 0; other < world(); ++other) {
    const Coordinates at = coordinates_of(other);
    const bool same = std::all_of(std::begin(kAxes), std::end(kAxes),
                                  [&](Axis axis) { return axes.contains(axis) || at.of(axis) == mine.of(axis); });
    if (same) ranks.push_back(other);
  }
  return ranks;
}

std::vector<AxisSet> Layout::groups() const {
  std::vector<AxisSet> sets;
  for (const bool d : {false, true})
    for (const bool r : {false, true})
      for (const bool t : {false, true}) {
        if (!(d || r || t) || (d && data == 1) || (r && replica == 1) || (t && tensor == 1)) continue;
        AxisSet axes;
        if (d) axes = axes.with(Axis::data);
        if (r) axes = axes.with(Axis::replica);
        if (t) axes = axes.with(Axis::tensor);
        sets.push_back(axes);
      }
  return sets;
}

std::string to_string(const Layout& layout) { return cat(layout.data, "x", layout.replica, "x", layout.tensor); }

namespace {

std::vector<std::string> tensor_problems(int64_t t, const ModelDegrees& m) {
  std::vector<std::string> problems;
  if (m.heads % t != 0) problems.push_back(cat("parallel.tensor = ", t, " does not divide model.num_attention_heads = ", m.heads));
  if (m.kv_heads % t != 0 && t % m.kv_heads != 0)
    problems.push_back(cat("parallel.tensor = ", t, " and model.num_key_value_heads = ", m.kv_heads, ": one must divide the other"));
  if (m.intermediate % t != 0)
    problems.push_back(cat("parallel.tensor = ", t, " does not divide model.intermediate_size = ", m.intermediate));
  return problems;
}

/// Layouts that fit `world`, as "DxRxT", those nearest to what was asked first.
std::string fitting(const Layout& asked, int64_t world, const ModelDegrees& m) {
  std::vector<std::pair<int64_t, std::string>> found;
  for (int64_t t = 1; t <= world; ++t) {
    if (world % t != 0 || !tensor_problems(t, m).empty()) continue;
    for (int64_t r = 1; r <= world / t; ++r)
      if (world / t % r == 0 && m.replicas % r == 0) {
        const int64_t d = world / t / r;
        const int64_t changes = (asked.tensor != t) + (asked.replica != 0 && asked.replica != r) + (asked.data != 0 && asked.data != d);
        found.emplace_back(changes, to_string(Layout{d, r, t}));
      }
  }
  std::stable_sort(found.begin(), found.end(), [](const auto& a, const auto& b) { return a.first < b.first; });
  std::vector<std::string> names;
  for (size_t i = 0; i < std::min<size_t>(found.size(), 8); ++i) names.push_back(found[i].second);
  return names.empty() ? "none" : join(names, ", ");
}

}  // namespace

Layout resolve_layout(const Layout& asked, int64_t world, const ModelDegrees& m) {
  std::vector<std::string> problems;
  Layout layout = asked;
  if (layout.tensor < 1) layout.tensor = 1;
  for (std::string& problem : tensor_problems(layout.tensor, m)) problems.push_back(std::move(problem));
  if (layout.replica == 0) {
    const int64_t left = world / layout.tensor / std::max<int64_t>(1, layout.data);
    layout.replica = 1;
    for (int64_t r = 1; r <= m.replicas; ++r)
      if (m.replicas % r == 0 && left % r == 0) layout.replica = r;
  }
  if (m.replicas % layout.replica != 0)
    problems.push_back(cat("parallel.replica = ", layout.replica, " does not divide parscale.parscale_n = ", m.replicas));
  const int64_t inner = layout.tensor * layout.replica;
  if (layout.data == 0) layout.data = std::max<int64_t>(1, world / inner);
  if (layout.world() != world)
    problems.push_back(cat("parallel.data x parallel.replica x parallel.tensor = ", to_string(layout), " needs ", layout.world(),
                           " ranks, but there ", world == 1 ? "is 1" : cat("are ", world)));
  if (!problems.empty()) {
    problems.back() += cat("; layouts (data x replica x tensor) that fit ", world, " ranks: ", fitting(asked, world, m));
    throw UserError(std::move(problems));
  }
  return layout;
}

}  // namespace pscale
