#include "launch/train/stragglers.h"

#include <algorithm>
#include <chrono>

#include "core/base/errors.h"

namespace pscale {

namespace {
double seconds_now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}
}  // namespace

StepTimes::StepTimes(const Mesh& mesh) : mesh_(&mesh), groups_(mesh.layout().groups()), seconds_(1 + groups_.size()) {}

std::vector<double> StepTimes::waited() const {
  std::vector<double> sums(groups_.size());
  for (const auto& [key, count] : mesh_->counters().snapshot())
    for (size_t g = 0; g < groups_.size(); ++g)
      if (groups_[g] == key.axes) sums[g] += count.waited;
  return sums;
}

void StepTimes::begin() {
  waited_before_ = waited();
  started_ = seconds_now();
}

void StepTimes::end() {
  double own = seconds_now() - started_;
  const std::vector<double> now = waited();
  for (size_t g = 0; g < groups_.size(); ++g) {
    seconds_[1 + g] += now[g] - waited_before_[g];
    own -= now[g] - waited_before_[g];
  }
  seconds_[0] += own;
}

void StepTimes::clear() { std::fill(seconds_.begin(), seconds_.end(), 0); }

Stragglers find_stragglers(const Layout& layout, std::span<const double> ranks, double steps) {
  const std::vector<AxisSet> groups = layout.groups();
  const size_t width = 1 + groups.size(), count = ranks.size() / width;
  PSCALE_CHECK(count >= 2 && count * width == ranks.size(), ranks.size(), " times of ranks of ", to_string(layout));
  std::vector<double> own, waited(groups.size());
  for (size_t r = 0; r < count; ++r) {
    own.push_back(ranks[r * width] / steps);
    for (size_t g = 0; g < groups.size(); ++g) waited[g] += ranks[r * width + 1 + g] / steps / static_cast<double>(count);
  }
  Stragglers found;
  const auto slowest = std::max_element(own.begin(), own.end());
  found.slowest = *slowest;
  found.slowest_rank = slowest - own.begin();
  std::sort(own.begin(), own.end());
  found.median = (own[(count - 1) / 2] + own[count / 2]) / 2;
  const auto most = std::max_element(waited.begin(), waited.end());
  found.waited_seconds = *most;
  found.waited_axes = groups[static_cast<size_t>(most - waited.begin())].name();
  return found;
}

}  // namespace pscale
