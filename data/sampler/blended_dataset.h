// The samples of a run, blended from one or more token files by weight.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "core/base/config_section.h"
#include "data/sampler/blend.h"
#include "data/sampler/dataset.h"

namespace pscale {

class BlendedDataset {
 public:
  /// `sources`: at least one; without weights each has its tokens of this part as weight. `opened`, where given: another
  /// part of the same sources, whose files need not be opened again. The rest as for TokenDataset.
  /// Throws UserError with the problems of all sources.
  BlendedDataset(const WeightedPaths& sources, int64_t length, uint64_t seed, DataSplit split = {},
                 const BlendedDataset* opened = nullptr);

  /// Sample i is sample j of source s, (s, j) = blend()[i]. As TokenDataset::sample().
  void sample(uint64_t i, std::span<int32_t> tokens, std::span<int32_t> documents = {}) const;

  size_t sources() const { return sources_.size(); }
  const TokenDataset& source(size_t s) const { return *sources_[s]; }
  /// What messages and metrics call a source: the last part of its path, or the whole path where that is not enough.
  const std::string& name(size_t s) const { return names_[s]; }
  const Blend& blend() const { return *blend_; }

 private:
  std::vector<std::unique_ptr<const TokenDataset>> sources_;  // they hold pointers to their own files
  std::vector<std::string> names_;
  std::unique_ptr<const Blend> blend_;
};

}  // namespace pscale
