// What a run would need, found by running its first step on a planning device: the same code takes the same memory and
// starts the same collectives, but no kernel computes and nothing is sent. So a plan cannot drift from the program.
#pragma once

#include <array>
#include <map>
#include <string>
#include <vector>

#include "launch/run_config.h"
#include "parallel/mesh/layout.h"

namespace pscale {

struct PlannedMemory {
  int64_t now = 0;   ///< bytes between steps
  int64_t peak = 0;  ///< most during a step; the kinds' peaks need not coincide
};

struct Plan {
  Layout layout;
  struct Group {
    int64_t tensors = 0, parameters = 0, trained = 0;
  };
  std::map<std::string, Group> parameters;               ///< by the module they belong to; whole model
  std::array<PlannedMemory, 5> memory{};                 ///< of rank 0, by MemoryKind
  int64_t windows = 0;                                   ///< bytes of the communicators' own buffers, part of `peak`
  int64_t checkpoint = 0;                                ///< bytes of host memory while a save is under way; not in `peak`
  int64_t peak = 0;                                      ///< bytes of rank 0, everything together
  double flops_per_step = 0;                             ///< model FLOPs, all ranks
  struct Traffic {
    std::string axes, purpose;
    int64_t bytes = 0;                                   ///< sent by rank 0 in a step
  };
  std::vector<Traffic> traffic;
  int64_t accumulate = 1;
};

/// `config` checked, `layout` resolved for it.
Plan make_plan(const Config& config, const Layout& layout);

/// The tables that `--dry-run` prints.
std::string to_text(const Plan& plan, const Config& config);

}  // namespace pscale
