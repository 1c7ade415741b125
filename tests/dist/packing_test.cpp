// data.pack = "document" in every layout: what is changed in one document moves no other's loss.
#include <set>

#include "data/sampler/dataset.h"
#include "data/token_file/token_file_writer.h"
#include "launch/train/sample_source.h"
#include "launch/train/training.h"
#include "tests/data/folder.h"
#include "tests/dist/world.h"

namespace pscale {
namespace {

constexpr int64_t kDocuments = 12, kLength = 40;

class PackingTest : public FolderTest {
 protected:
  /// Documents of 5 to 16 tokens below 37, one of them with other tokens, as many.
  TokenDataset with_changed(int64_t changed) {
    const std::string prefix = path(cat("changed", changed));
    TokenFileWriter writer(prefix, {"count", 37, {}});
    for (int64_t d = 0; d < kDocuments; ++d) {
      std::vector<int32_t> tokens(static_cast<size_t>(5 + d * 5 % 12));
      for (size_t k = 0; k < tokens.size(); ++k)
        tokens[k] = static_cast<int32_t>((k * k + 3 * static_cast<size_t>(d) + (d == changed ? 11 : 0)) % 37);
      writer.append(tokens);
      writer.end_document();
    }
    writer.finish();
    return TokenDataset(prefix, kLength, 42);
  }
};

struct Sample {
  std::vector<int32_t> tokens = std::vector<int32_t>(kLength + 1), documents = tokens;
  Sample(const TokenDataset& data, uint64_t i) { data.sample(i, tokens, documents); }
};

/// The loss of each document of a sample: that of its targets alone.
std::vector<double> losses_by_document(const Training& training, const Device& device, const Sample& sample, bool packed) {
  const std::vector<int32_t> documents = packed ? sample.documents : std::vector<int32_t>{};
  std::vector<double> losses;
  for (int32_t d = 0; d <= sample.documents[kLength - 1]; ++d) {
    Batch batch = make_batch(device, sample.tokens, documents, 1, kLength, training.model().token_multiple());
    for (int64_t s = 0; s < kLength; ++s)
      if (sample.documents[static_cast<size_t>(s)] != d) batch.targets.data<int32_t>()[s] = -1;
    losses.push_back(training.evaluate(batch));
  }
  return losses;
}

TEST_F(PackingTest, AChangedDocumentMovesNoOthersLoss) {
  const Device cpu = Device::cpu();
  const TokenDataset before = with_changed(-1);
  for (const Layout& layout : testing::layouts()) {
    if (layout.replica > 4 || layout.tensor > 4) continue;
    const auto mesh = testing::mesh_of(layout);
    // Data ranks look at samples of their own.
    const auto i = static_cast<uint64_t>(mesh->coordinates().data);
    for (const bool joint : {false, true}) {
      ModelConfig model;
      model.vocab_size = 37;
      model.parscale_n = 4;
      model.parscale_n_tokens = 3;
      model.enable_cross_attn = !joint;
      model.enable_xkv_attn = joint;
      Training training(cpu, *mesh, model, {});
      training.initialize(1);
      const Sample a(before, i);
      const auto was = losses_by_document(training, cpu, a, true), was_stream = losses_by_document(training, cpu, a, false);
      ASSERT_GE(was.size(), 3u);
      int64_t seen = 0;
      for (int64_t changed = 0; changed < kDocuments; ++changed) {
        const Sample b(with_changed(changed), i);
        ASSERT_EQ(a.documents, b.documents);
        // A document may come twice in a sample, at the end of one epoch and in the next.
        std::set<int32_t> there;
        for (size_t k = 0; k < kLength; ++k)
          if (a.tokens[k] != b.tokens[k]) there.insert(a.documents[k]);
        if (there.empty()) continue;
        ++seen;
        const auto is = losses_by_document(training, cpu, b, true), is_stream = losses_by_document(training, cpu, b, false);
        for (int32_t d = 0; d < static_cast<int32_t>(was.size()); ++d) {
          const auto at = static_cast<size_t>(d);
          if (there.contains(d))
            EXPECT_NE(was[at], is[at]) << to_string(layout) << " " << changed << " " << d;
          else
            EXPECT_EQ(was[at], is[at]) << to_string(layout) << " " << changed << " " << d;
          // Without packing by document every later one sees it.
          if (d > *there.begin()) {
            EXPECT_NE(was_stream[at], is_stream[at]) << to_string(layout) << " " << changed << " " << d;
          }
        }
      }
      EXPECT_GE(seen, 3);
    }
  }
}

}  // namespace
}  // namespace pscale
