// The rule for loss spikes: a loss far above those of the last updates. Plain arithmetic on numbers that are the same on
// every rank, from a window that checkpoints carry: every rank decides alike, also when a run goes on.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

namespace pscale {

class LossWindow {
 public:
  /// A spike is more than `z_score` standard deviations above the mean of the last `size` losses; without it nothing is.
  /// `losses`: those of a run that goes on, oldest first; the last `size` count.
  LossWindow(std::optional<double> z_score, int64_t size, std::vector<double> losses);

  /// The largest loss that is no spike; infinite until there are `size` losses, and where these are all equal.
  double limit() const;
  /// The loss of an update that was made.
  void add(double loss);
  /// Oldest first; none where there is no rule.
  const std::vector<double>& losses() const { return losses_; }

 private:
  std::optional<double> z_score_;
  size_t size_;
  std::vector<double> losses_;
};

}  // namespace pscale
