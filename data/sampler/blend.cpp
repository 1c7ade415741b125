#include "data/sampler/blend.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "core/base/errors.h"

namespace pscale {
namespace {

constexpr int kShareBits = 62;

}  // namespace

Blend::Blend(std::span<const double> weights) : weights_(weights.begin(), weights.end()), leaves_(weights.size()) {
  PSCALE_CHECK(!weights.empty(), "a blend of nothing");
  const double most = *std::max_element(weights_.begin(), weights_.end());
  double sum = 0;
  for (double& weight : weights_) {
    PSCALE_CHECK(weight >= most * kLeastShare && std::isfinite(weight), weight, " of ", most);
    weight /= most;
    sum += weight;
  }
  for (double& weight : weights_) weight /= sum;
  // Heaviest first, so that the halves of a node come out even.
  std::vector<size_t> order(weights.size());
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) { return weights_[a] > weights_[b]; });
  build(order);
}

size_t Blend::build(std::span<const size_t> sources) {
  const size_t self = nodes_.size();
  nodes_.emplace_back();
  if (sources.size() == 1) {
    nodes_[self].source = sources[0];
    leaves_[sources[0]] = self;
    return self;
  }
  // Each goes to the lighter half: the heavier one is a single source or has at most 2/3 of the weight.
  std::vector<size_t> halves[2];
  double sums[2] = {0, 0};
  for (const size_t source : sources) {
    const int half = sums[1] < sums[0] ? 1 : 0;
    halves[half].push_back(source);
    sums[half] += weights_[source];
  }
  nodes_[self].share = static_cast<uint64_t>(std::llround(std::ldexp(sums[0] / (sums[0] + sums[1]), kShareBits)));
  for (int half = 0; half < 2; ++half) {
    const size_t child = build(halves[half]);
    nodes_[self].children[half] = child;
    nodes_[child].parent = self;
  }
  return self;
}

uint64_t Blend::to_first(const Node& node, uint64_t n) {
  using Wide = unsigned __int128;
  return static_cast<uint64_t>((static_cast<Wide>(n) * node.share + (Wide{1} << (kShareBits - 1))) >> kShareBits);
}

Blend::Place Blend::operator[](uint64_t i) const {
  size_t at = 0;
  while (nodes_[at].children[0] != 0) {
    const Node& node = nodes_[at];
    const uint64_t before = to_first(node, i);
    const bool first = to_first(node, i + 1) > before;
    i = first ? before : i - before;
    at = node.children[first ? 0 : 1];
  }
  return {nodes_[at].source, i};
}

uint64_t Blend::count(size_t source, uint64_t n) const {
  std::vector<size_t> path;
  for (size_t at = leaves_[source]; at != 0; at = nodes_[at].parent) path.push_back(at);
  size_t at = 0;
  for (; !path.empty(); path.pop_back()) {
    const uint64_t first = to_first(nodes_[at], n);
    n = path.back() == nodes_[at].children[0] ? first : n - first;
    at = path.back();
  }
  return n;
}

}  // namespace pscale
