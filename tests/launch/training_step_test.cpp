#include "launch/train/training.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "launch/train/sample_source.h"

namespace pscale {
namespace {

ModelConfig small_model() {
  ModelConfig c;
  c.vocab_size = 37;
  c.parscale_n = 2;
  c.parscale_n_tokens = 3;
  c.enable_cross_attn = true;
  return c;
}

Batch some_batch(const Device& device, int64_t sequences, int64_t length, int32_t step) {
  std::vector<int32_t> tokens(static_cast<size_t>(sequences * (length + 1)));
  for (size_t i = 0; i < tokens.size(); ++i) tokens[i] = static_cast<int32_t>((i * 7 + static_cast<size_t>(step)) % 37);
  return make_batch(device, tokens, {}, sequences, length, 1);
}

TEST(Training, EvaluationGivesTheLossThatTrainingSees) {
  const Device cpu = Device::cpu();
  const auto mesh = make_self_mesh();
  Training training(cpu, *mesh, small_model(), {});
  training.initialize(1);
  const Batch batch = some_batch(cpu, 3, 11, 1);
  const double sum = training.evaluate(batch);
  EXPECT_NEAR(sum / 33, std::log(37.0), 0.5);  // new weights know nothing
  EXPECT_EQ(training.accumulate_gradients(std::span(&batch, 1), 33, nullptr), sum);
  training.buckets().clear();
  EXPECT_NEAR(training.step(std::span(&batch, 1), 33, 1e-2).loss, sum / 33, 1e-9);
  EXPECT_LT(training.evaluate(batch), sum);
}

TEST(Training, AGradientThatIsNotFiniteChangesNothing) {
  const Device cpu = Device::cpu();
  const auto mesh = make_self_mesh();
  Training training(cpu, *mesh, small_model(), {});
  training.initialize(1);
  const Batch batch = some_batch(cpu, 2, 9, 1);
  training.step(std::span(&batch, 1), 18, 1e-2);
  const uint64_t before = training.optimizer().state_hash();
  Parameter& norm = training.parameters().named("model.norm.weight");
  const float kept = norm.local().data<float>()[3];
  norm.local().data<float>()[3] = std::numeric_limits<float>::quiet_NaN();
  const StepResult result = training.step(std::span(&batch, 1), 18, 1e-2);
  EXPECT_TRUE(result.skipped);
  EXPECT_EQ(training.optimizer().updates(), 1);
  norm.local().data<float>()[3] = kept;
  EXPECT_EQ(training.optimizer().state_hash(), before);
  EXPECT_FALSE(training.step(std::span(&batch, 1), 18, 1e-2).skipped);
}

TEST(Training, FreezingTakesNoMemoryForTheRest) {
  const Device cpu = Device::cpu();
  const auto mesh = make_self_mesh();
  const auto optimizer_bytes = [&](bool freeze) {
    TrainingOptions options;
    options.freeze_pretrained = freeze;
    Training training(cpu, *mesh, small_model(), options);
    training.initialize(1);
    const Batch batch = some_batch(cpu, 2, 9, 1);
    cpu.allocator().reset_peaks();
    int64_t trained = 0;
    for (const Parameter& p : training.parameters().all()) trained += p.trainable() ? p.local().elements() : 0;
    const auto pretrained = training.parameters().named("model.layers.0.mlp.up_proj.weight").local().to_vector();
    training.step(std::span(&batch, 1), 18, 1e-2);
    // Rounded to 64 bytes for each tensor.
    const int64_t slack = 64 * static_cast<int64_t>(training.parameters().all().size());
    EXPECT_LE(cpu.allocator().stats(MemoryKind::gradients).peak, 4 * trained + slack);
    EXPECT_LE(cpu.allocator().stats(MemoryKind::optimizer).current, 8 * trained + 2 * slack);
    const auto after = training.parameters().named("model.layers.0.mlp.up_proj.weight").local().to_vector();
    EXPECT_EQ(pretrained == after, freeze);
    return cpu.allocator().stats(MemoryKind::optimizer).current;
  };
  const int64_t all = optimizer_bytes(false), added = optimizer_bytes(true);
  EXPECT_LT(added, all / 2);
}

TEST(BatchPlan, EverySampleOfAStepBelongsToOneRank) {
  for (const int64_t ranks : {1, 2, 4})
    for (const int64_t micro : {1, 2}) {
      std::vector<int> seen(16, 0);
      for (int64_t rank = 0; rank < ranks; ++rank) {
        const BatchPlan plan{.global_batch = 8, .micro_batch = micro, .data_ranks = ranks, .data_rank = rank};
        for (int64_t m = 0; m < plan.accumulate(); ++m)
          for (int64_t b = 0; b < micro; ++b) ++seen[plan.first_sample(1, m) + static_cast<uint64_t>(b)];
      }
      for (size_t i = 0; i < 16; ++i) EXPECT_EQ(seen[i], i >= 8) << ranks << " ranks, sample " << i;
    }
}

}  // namespace
}  // namespace pscale
