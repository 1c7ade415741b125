// Section [parallel]: the sizes of the mesh axes as the user asks for them. parallel/mesh/layout.h resolves
// the zeros and validates the degrees against the model and the number of ranks.
#pragma once

#include <cstdint>
#include <string>

#include "core/base/config_section.h"

namespace pscale {

struct ParallelConfig {
  int64_t tensor = 1;
  int64_t replica = 0;             ///< 0: the largest divisor of P that divides the ranks left
  int64_t data = 0;                ///< 0: what is left
  std::string transport = "auto";  ///< auto | mpi | shared: how ranks of one machine talk

  void describe(ConfigSection& section);
};

}  // namespace pscale
