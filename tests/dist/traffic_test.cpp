// What the replica axis sends, held against the formulas of docs/collectives.md.
#include "launch/train/training.h"
#include "tests/dist/world.h"

namespace pscale {
namespace {

ModelConfig model(bool joint) {
  ModelConfig c;
  c.vocab_size = 61;
  c.hidden_size = 32;
  c.num_hidden_layers = 3;
  c.parscale_n = 4;
  c.parscale_n_tokens = 5;
  c.enable_cross_attn = !joint;
  c.enable_xkv_attn = joint;
  return c;
}

void check_traffic(const Layout& layout, bool joint) {
  const auto mesh = testing::mesh_of(layout);
  if (!mesh) return;
  const Device cpu = Device::cpu();
  const ModelConfig c = model(joint);
  Training training(cpu, *mesh, c, {});
  training.initialize(3);
  const int64_t sequences = 2, length = 13;
  std::vector<int32_t> tokens(static_cast<size_t>(sequences * (length + 1)), 7);
  const Batch batch = make_batch(cpu, tokens, {}, sequences, length, training.model().token_multiple());

  const int64_t R = layout.replica, T = layout.tensor, P = c.parscale_n, n = batch.tokens, H = c.hidden_size;
  const int64_t kv = 2 * (c.num_key_value_heads / T) * c.head_size(), layers = c.num_hidden_layers;
  const AxisSet replica = Axis::replica;
  const std::map<std::string_view, int64_t> expected = {
      {joint ? "joint_kv" : "cross_replica_kv", layers * (R - 1) * (P / R) * n * kv},
      {"score", n / T * H * (R - 1) / R},
      {"shares", n / T * P * (R - 1) / R},
      {"blend", n / T * H * (R - 1) / R}};
  for (const bool backward : {false, true}) {
    mesh->counters().reset();
    if (backward) {
      training.accumulate_gradients(std::span(&batch, 1), batch.counted, nullptr);
      training.buckets().clear();
    } else {
      training.evaluate(batch);
    }
    const auto counts = mesh->counters().snapshot();
    for (const auto& [purpose, elements] : expected) {
      const auto& count = counts.at({replica, purpose});
      EXPECT_EQ(count.elements, elements * (backward ? 2 : 1)) << to_string(layout) << " " << purpose;
      EXPECT_EQ(count.bytes, count.elements * 4);
    }
    // Nothing else travels over the replica axis alone.
    for (const auto& [key, count] : counts) {
      if (key.axes != replica || expected.contains(key.purpose)) continue;
      EXPECT_TRUE(key.purpose == "validation" || key.purpose == "gradients") << key.purpose;
    }
  }
}

TEST(ReplicaTraffic, EqualsTheTable) {
  for (const bool joint : {false, true})
    for (const Layout& layout : {Layout{1, 2, 1}, {1, 4, 1}, {1, 2, 2}, {2, 2, 1}, {1, 4, 2}, {2, 2, 2}, {2, 4, 1}})
      check_traffic(layout, joint);
}

}  // namespace
}  // namespace pscale
