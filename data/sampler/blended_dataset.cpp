#include "data/sampler/blended_dataset.h"

#include <algorithm>
#include <filesystem>
#include <set>

#include "core/base/errors.h"

namespace pscale {
namespace {

std::vector<std::string> names_of(const WeightedPaths& sources) {
  std::vector<std::string> names, paths;
  for (const WeightedPath& source : sources) {
    paths.push_back(source.path);
    names.push_back(std::filesystem::path(source.path).filename().string());
  }
  return std::set<std::string>(names.begin(), names.end()).size() == names.size() ? names : paths;
}

}  // namespace

BlendedDataset::BlendedDataset(const WeightedPaths& sources, int64_t length, uint64_t seed, DataSplit split,
                               const BlendedDataset* opened)
    : names_(names_of(sources)) {
  std::vector<std::string> problems;
  std::vector<double> weights;
  PSCALE_CHECK(!opened || opened->sources() == sources.size(), sources.size());
  for (size_t s = 0; s < sources.size(); ++s) {
    try {
      auto file = opened ? opened->source(s).shared_file() : std::make_shared<const TokenFile>(sources[s].path);
      sources_.push_back(std::make_unique<TokenDataset>(std::move(file), length, seed, split));
      weights.push_back(sources[s].weight.value_or(static_cast<double>(sources_.back()->tokens())));
    } catch (const UserError& e) {
      problems.insert(problems.end(), e.problems().begin(), e.problems().end());
    }
  }
  const double most = weights.empty() ? 0 : *std::max_element(weights.begin(), weights.end());
  for (size_t s = 0; s < weights.size() && problems.empty(); ++s)
    if (weights[s] < most * Blend::kLeastShare)
      problems.push_back(cat(sources[s].path, ": its weight ", weights[s], " is nothing beside ", most, "; leave it out"));
  if (!problems.empty()) throw UserError(std::move(problems));
  blend_ = std::make_unique<Blend>(weights);
}

void BlendedDataset::sample(uint64_t i, std::span<int32_t> tokens, std::span<int32_t> documents) const {
  const Blend::Place place = (*blend_)[i];
  sources_[place.source]->sample(place.sample, tokens, documents);
}

}  // namespace pscale
