// Section [data]: the token files and how they are split. data/ reads it; the trainer asks for samples.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "core/base/config_section.h"

namespace pscale {

struct DataConfig {
  WeightedPaths train;                      ///< prefixes of .bin/.idx pairs; empty where nothing is trained
  std::optional<WeightedPaths> validation;  ///< prefixes of other pairs; absent: the last part of each of `train`
  double validation_fraction = 0.005;       ///< of the documents of each of `train`
  int64_t validation_interval = 500;        ///< in steps; 0: no validation
  int64_t validation_samples = 64;          ///< sequences of each source, the same ones every time
  std::string pack = "stream";              ///< stream | document

  void describe(ConfigSection& section);

  /// The part of the training files' documents that is kept from training: 0 where validation has files of its own, or
  /// there is none.
  double held_out() const { return validation_interval > 0 && !validation ? validation_fraction : 0; }
};

}  // namespace pscale
