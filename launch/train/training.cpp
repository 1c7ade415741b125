#include "launch/train/training.h"

#include <algorithm>
#include <cmath>

namespace pscale {

namespace {
constexpr Purpose kLoss{"loss"};
constexpr Purpose kStatistics{"statistics"};
}  // namespace

Training::Training(const Device& device, const Mesh& mesh, const ModelConfig& model, const TrainingOptions& options)
    : mesh_(&mesh),
      grad_clip_(options.optimizer.grad_clip),
      parameters_(device, mesh, options.dtype, options.freeze_pretrained),
      model_(model, parameters_, options.recompute),
      buckets_(parameters_, options.bucket_bytes),
      optimizer_(buckets_, parameters_, options.optimizer) {}

void Training::initialize(uint64_t seed) {
  for (Parameter& p : parameters_.all()) optimizer_.assign(p, initial_values(p.spec(), p.slab(), seed));
}

double Training::accumulate_gradients(std::span<const Batch> micro_batches, int64_t targets,
                                      BlendStatistics* statistics) {
  double sum = 0;
  const double scale = 1.0 / static_cast<double>(std::max<int64_t>(targets, 1));
  for (size_t i = 0; i < micro_batches.size(); ++i) {
    if (i + 1 == micro_batches.size()) buckets_.start_last_micro_batch();
    Tape tape;
    const VocabularyLoss loss = model_.loss(tape, micro_batches[i], scale, statistics);
    sum += loss.sum;
    tape.backward(loss.loss);
  }
  buckets_.finish();
  return sum;
}

StepResult Training::step(std::span<const Batch> micro_batches, int64_t targets, double learning_rate,
                          bool statistics, double loss_limit) {
  StepResult result;
  Communicator& world = mesh_->group(AxisSet::all());
  double sum = accumulate_gradients(micro_batches, targets, statistics ? &result.blend : nullptr);
  world.all_reduce(&sum, 1, DType::float64, Reduction::sum, kLoss).wait();
  result.loss = sum / static_cast<double>(targets);  // without any target not a number, and the update is skipped
  result.gradient_norm = optimizer_.gradient_norm();
  // Both numbers are the same on every rank, so all ranks agree.
  result.spike = std::isfinite(result.loss) && result.loss > loss_limit;
  result.skipped = result.spike || !std::isfinite(result.loss) || !std::isfinite(result.gradient_norm);
  if (result.skipped) {
    buckets_.clear();
  } else {
    const double clip = grad_clip_ > 0 ? std::min(1.0, grad_clip_ / (result.gradient_norm + 1e-6)) : 1.0;
    optimizer_.step(learning_rate, clip);
  }
  if (statistics) {
    double sums[3] = {result.blend.entropy, result.blend.cosine, static_cast<double>(result.blend.tokens)};
    world.all_reduce(sums, 3, DType::float64, Reduction::sum, kStatistics).wait();
    result.blend = {sums[0], sums[1], static_cast<int64_t>(sums[2])};
  }
  return result;
}

double Training::evaluate(const Batch& batch) const {
  Tape off(Tape::Mode::off);
  double sum = model_.loss(off, batch, 1.0).sum;
  mesh_->group(AxisSet{Axis::replica, Axis::tensor})
      .all_reduce(&sum, 1, DType::float64, Reduction::sum, Purpose{"validation"})
      .wait();
  return sum;
}

}  // namespace pscale
