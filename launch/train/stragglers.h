// Which rank is slow: time a rank computes itself in a step, without what it waits for others. In a step all ranks take as
// long as the slowest, so that time alone tells them apart.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "parallel/mesh/mesh.h"

namespace pscale {

/// Of one rank, summed over steps.
class StepTimes {
 public:
  explicit StepTimes(const Mesh& mesh);
  /// Around the part of a step that is measured.
  void begin();
  void end();
  void clear();

  /// Seconds this rank computed, then those it waited over each of the layout's groups.
  const std::vector<double>& seconds() const { return seconds_; }

 private:
  std::vector<double> waited() const;

  const Mesh* mesh_;
  std::vector<AxisSet> groups_;
  std::vector<double> seconds_, waited_before_;
  double started_ = 0;
};

struct Stragglers {
  double median = 0, slowest = 0;  ///< seconds a step over the ranks
  int64_t slowest_rank = 0;
  std::string waited_axes;    ///< over which ranks waited longest, as "data+replica"
  double waited_seconds = 0;  ///< a step, mean over the ranks
};

/// `ranks`: StepTimes::seconds() of every rank, one after the other, over so many steps. For two ranks or more.
Stragglers find_stragglers(const Layout& layout, std::span<const double> ranks, double steps);

}  // namespace pscale
