// What a model becomes on its way from one folder to another.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "models/parscale/model_config.h"

namespace pscale {

struct Target {
  ModelConfig config;
  uint64_t seed = 42;    ///< of the new weights
  bool changes = false;  ///< whether the configuration is another than the base's
};

/// `base` with the `parscale.key=value` and `run.seed=value` of the command line. A base without replicas and prefix
/// has chosen nothing of [parscale]: keys not given then have the defaults of a ParScale model. Throws UserError with
/// all problems.
Target target_of(const ModelConfig& base, const std::vector<std::string>& overrides);

}  // namespace pscale
