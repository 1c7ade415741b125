// Which source sample i of a blend comes from, and which of the source's own samples it is, without walking from 0.
//
// The sources are the leaves of a binary tree whose halves weigh about the same. Of the first n samples that reach a
// node, round(n a) go to its first child, a being that child's share of the node's weight; the others go to the second
// child. So every count along the path to a source is a closed formula of n, and after n samples of the whole a source
// has given n w to within 2 of them, w being its share of all weight; to within 1/2 where there are two sources.
// Two-way splits of this kind are Beatty sequences (Rayleigh 1894); the tree keeps the error from growing with the
// number of sources, because each level scales the error of the one above by its share.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace pscale {

class Blend {
 public:
  /// The least weight of a source, as a part of the largest.
  static constexpr double kLeastShare = 1e-12;
  /// One number above 0 for each source, none smaller than kLeastShare of another; only their ratios matter.
  explicit Blend(std::span<const double> weights);

  struct Place {
    size_t source = 0;
    uint64_t sample = 0;  ///< of that source, from 0
  };
  /// Takes as many steps as the tree is deep.
  Place operator[](uint64_t i) const;
  /// How many of the first n samples come from a source.
  uint64_t count(size_t source, uint64_t n) const;

  size_t sources() const { return weights_.size(); }
  double weight(size_t source) const { return weights_[source]; }  ///< all of them sum to 1

 private:
  struct Node {
    uint64_t share = 0;     // of the first child, in units of 2^-62; a leaf has no children
    size_t children[2] = {0, 0};
    size_t source = 0;
    size_t parent = 0;
  };
  size_t build(std::span<const size_t> sources);
  static uint64_t to_first(const Node& node, uint64_t n);

  std::vector<double> weights_;
  std::vector<Node> nodes_;    // nodes_[0] is the root
  std::vector<size_t> leaves_;  // of each source
};

}  // namespace pscale
