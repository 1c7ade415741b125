#include "launch/train/sample_source.h"

#include <gtest/gtest.h>

#include <array>
#include <chrono>
#include <set>

#include "data/sampler/dataset.h"
#include "data/token_file/token_file_writer.h"
#include "tests/data/folder.h"

namespace pscale {
namespace {

constexpr int64_t kLength = 40;

class SampleSourceTest : public FolderTest {
 protected:
  /// Documents of 5 to 16 tokens.
  std::string write() {
    TokenFileWriter writer(path("text"), {"count", 37, {}});
    for (size_t d = 0; d < 12; ++d) {
      std::vector<int32_t> tokens(5 + d * 5 % 12);
      for (size_t k = 0; k < tokens.size(); ++k) tokens[k] = static_cast<int32_t>((k * k + 3 * d) % 37);
      writer.append(tokens);
      writer.end_document();
    }
    writer.finish();
    return path("text");
  }
};

TEST_F(SampleSourceTest, TheCountedTargetsOfAStep) {
  const Device cpu = Device::cpu();
  const auto mesh = make_self_mesh();
  const TokenDataset data(write(), kLength, 42);
  const SampleFunction sample = [&](uint64_t i, std::span<int32_t> tokens, std::span<int32_t> documents) {
    data.sample(i, tokens, documents);
  };
  BatchPlan plan{.global_batch = 6, .micro_batch = 2, .length = kLength};
  const auto stream = step_batches(sample, plan, 3, cpu);
  EXPECT_EQ(step_targets(stream, plan, mesh->group(Axis::data)), 6 * kLength);
  EXPECT_FALSE(stream[0].starts.defined());
  plan.by_document = true;
  const auto packed = step_batches(sample, plan, 3, cpu);
  ASSERT_EQ(packed.size(), 3u);
  int64_t expected = 0;
  std::vector<int32_t> tokens(kLength + 1), documents(kLength + 1);
  for (uint64_t i = 18; i < 24; ++i) {
    data.sample(i, tokens, documents);
    expected += count_targets(documents, 1, kLength);
  }
  EXPECT_EQ(step_targets(packed, plan, mesh->group(Axis::data)), expected);
  EXPECT_LT(expected, 6 * kLength);
  // Where a document begins, positions do.
  for (int64_t s = 0; s < kLength; ++s)
    EXPECT_EQ(packed[0].positions.data<int32_t>()[s], s - packed[0].starts.data<int32_t>()[s]);
}

TEST_F(SampleSourceTest, EveryLayoutTakesTheSameSamplesInAStep) {
  // (step, sample) of all data ranks together.
  const auto taken = [](int64_t data_ranks, int64_t micro_batch) {
    std::multiset<std::pair<int64_t, uint64_t>> all;
    for (int64_t rank = 0; rank < data_ranks; ++rank) {
      BatchPlan plan{.global_batch = 24, .micro_batch = micro_batch, .data_ranks = data_ranks, .data_rank = rank, .length = 1};
      for (const int64_t step : {0, 1, 1000000007}) {
        const auto note = [&](uint64_t i, std::span<int32_t>, std::span<int32_t>) { all.emplace(step, i); };
        step_batches(note, plan, step, Device::cpu());
      }
    }
    return all;
  };
  const auto alone = taken(1, 24);
  ASSERT_EQ(alone.size(), 72u);
  EXPECT_EQ(alone.begin()->second, 0u);
  EXPECT_EQ(alone.rbegin()->second, 24 * uint64_t{1000000007} + 23);
  for (const int64_t data_ranks : {1, 2, 3, 4, 6})
    for (const int64_t micro_batch : {1, 2}) EXPECT_EQ(taken(data_ranks, micro_batch), alone) << data_ranks << " " << micro_batch;
}

TEST_F(SampleSourceTest, TheLoaderGivesWhatReadingInOrderGives) {
  const Device cpu = Device::cpu();
  const TokenDataset data(write(), kLength, 42);
  const SampleFunction sample = [&](uint64_t i, std::span<int32_t> tokens, std::span<int32_t> documents) {
    data.sample(i, tokens, documents);
  };
  for (const bool by_document : {false, true}) {
    const BatchPlan plan{.global_batch = 6, .micro_batch = 3, .length = kLength, .by_document = by_document};
    StepLoader loader(sample, plan, cpu, 3, 8);
    for (int64_t step = 3; step < 8; ++step) {
      const auto got = loader.next(), expected = step_batches(sample, plan, step, cpu);
      ASSERT_EQ(got.size(), 2u);
      for (size_t micro = 0; micro < 2; ++micro) {
        EXPECT_EQ(got[micro].inputs.to_vector(), expected[micro].inputs.to_vector());
        EXPECT_EQ(got[micro].targets.to_vector(), expected[micro].targets.to_vector());
        EXPECT_EQ(got[micro].positions.to_vector(), expected[micro].positions.to_vector());
      }
    }
    EXPECT_THROW(loader.next(), InvariantError);
  }
}

TEST(StepLoader, ReadsTheNextStepWhileThisOneIsTrained) {
  const Device cpu = Device::cpu();
  const BatchPlan plan{.global_batch = 1, .micro_batch = 1, .length = 1};
  std::array<std::promise<void>, 3> begun;
  StepLoader loader([&](uint64_t i, std::span<int32_t>, std::span<int32_t>) {
    begun[i].set_value();
    if (i == 2) throw UserError("text.bin: damaged");
  }, plan, cpu, 0, 3);
  for (size_t step = 0; step < 2; ++step) {
    EXPECT_EQ(loader.next().size(), 1u);
    // Nobody has asked for it yet.
    ASSERT_EQ(begun[step + 1].get_future().wait_for(std::chrono::seconds(10)), std::future_status::ready);
  }
  EXPECT_EQ(error_of([&] { loader.next(); }), "text.bin: damaged");
}

}  // namespace
}  // namespace pscale
