// Section [data]: the token files and how they are split. data/ reads it; the trainer asks for samples.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "core/base/config_section.h"

namespace pscale {

struct DataConfig {
  std::string train;                      ///< prefix of a .bin/.idx pair; empty where nothing is trained
  std::optional<std::string> validation;  ///< prefix of another pair; absent: the last part of `train`
  double validation_fraction = 0.005;     ///< of the documents of `train`
  int64_t validation_interval = 500;      ///< in steps; 0: no validation
  int64_t validation_samples = 64;        ///< sequences, the same ones every time

  void describe(ConfigSection& section);
};

}  // namespace pscale
