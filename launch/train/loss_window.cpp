#include "launch/train/loss_window.h"

#include <cmath>
#include <limits>

namespace pscale {

LossWindow::LossWindow(std::optional<double> z_score, int64_t size, std::vector<double> losses)
    : z_score_(z_score), size_(static_cast<size_t>(size)) {
  for (const double loss : losses) add(loss);
}

double LossWindow::limit() const {
  constexpr double kNone = std::numeric_limits<double>::infinity();
  if (!z_score_ || losses_.size() < size_) return kNone;
  const auto count = static_cast<double>(size_);
  double sum = 0, squares = 0;
  for (const double loss : losses_) sum += loss;
  const double mean = sum / count;
  for (const double loss : losses_) squares += (loss - mean) * (loss - mean);
  return squares > 0 ? mean + *z_score_ * std::sqrt(squares / count) : kNone;
}

void LossWindow::add(double loss) {
  if (!z_score_) return;
  losses_.push_back(loss);
  if (losses_.size() > size_) losses_.erase(losses_.begin());
}

}  // namespace pscale
