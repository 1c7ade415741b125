// Parallel layers, buckets and the sharded optimizer against one rank, in float64.
#include <cmath>

#include "launch/parity/whole.h"
#include "launch/train/training.h"
#include "models/layers/vocabulary.h"
#include "parallel/ops/linear.h"
#include "tests/dist/world.h"

namespace pscale {
namespace {

std::vector<double> waves(int64_t count, double step) {
  std::vector<double> values(static_cast<size_t>(count));
  for (size_t i = 0; i < values.size(); ++i) values[i] = std::sin(step * static_cast<double>(i) + 0.4);
  return values;
}

/// Rows [begin, begin + count) of a matrix of `columns` columns.
std::vector<double> rows_of(const std::vector<double>& all, int64_t begin, int64_t count, int64_t columns) {
  return {all.begin() + begin * columns, all.begin() + (begin + count) * columns};
}

void expect_near(const Tensor& got, const std::vector<double>& want, const char* what) {
  const std::vector<double> values = got.to_vector();
  ASSERT_EQ(values.size(), want.size()) << what;
  for (size_t i = 0; i < values.size(); ++i) ASSERT_NEAR(values[i], want[i], 1e-10) << what << " " << i;
}

TEST(Linear, ColumnThenRowEqualsOneRank) {
  const int64_t t = testing::world().size(), n = 16, in = 6, wide = 8, out = 5;
  const auto mesh = testing::mesh_of({1, 1, t});
  Communicator& tensor = mesh->group(Axis::tensor);
  const Device cpu = Device::cpu();
  const auto x = waves(n * in, 0.7), w1 = waves(wide * in, 1.1), b1 = waves(wide, 0.9), w2 = waves(out * wide, 1.3),
             seed = waves(n * out, 0.5);
  // y = (x w1^T + b1) w2^T, and its gradients, in plain loops.
  std::vector<double> h(n * wide), y(n * out), dh(n * wide), dx(n * in), dw1(wide * in), db1(wide), dw2(out * wide);
  for (int64_t i = 0; i < n; ++i) {
    for (int64_t j = 0; j < wide; ++j) {
      h[i * wide + j] = b1[j];
      for (int64_t k = 0; k < in; ++k) h[i * wide + j] += x[i * in + k] * w1[j * in + k];
    }
    for (int64_t o = 0; o < out; ++o)
      for (int64_t j = 0; j < wide; ++j) {
        y[i * out + o] += h[i * wide + j] * w2[o * wide + j];
        dh[i * wide + j] += seed[i * out + o] * w2[o * wide + j];
        dw2[o * wide + j] += seed[i * out + o] * h[i * wide + j];
      }
    for (int64_t j = 0; j < wide; ++j) {
      db1[j] += dh[i * wide + j];
      for (int64_t k = 0; k < in; ++k) {
        dx[i * in + k] += dh[i * wide + j] * w1[j * in + k];
        dw1[j * in + k] += dh[i * wide + j] * x[i * in + k];
      }
    }
  }

  const int64_t rank = tensor.rank(), tokens = n / t, share = wide / t;
  const auto columns = [&](const std::vector<double>& all) {  // this rank's columns of [out, wide]
    std::vector<double> part;
    for (int64_t o = 0; o < out; ++o)
      for (int64_t j = 0; j < share; ++j) part.push_back(all[o * wide + rank * share + j]);
    return part;
  };
  const Var vx = leaf(Tensor::of(cpu, {tokens, in}, DType::float64, rows_of(x, rank * tokens, tokens, in)));
  // Two projections on one gathered input, to see that their input gradients are added.
  const int64_t half = share / 2 + share % 2;
  const auto weight = [&](int64_t begin, int64_t count) {
    return LinearWeights{leaf(Tensor::of(cpu, {count, in}, DType::float64, rows_of(w1, rank * share + begin, count, in))),
                         leaf(Tensor::of(cpu, {count}, DType::float64, rows_of(b1, rank * share + begin, count, 1)))};
  };
  const Var vw2 = leaf(Tensor::of(cpu, {out, share}, DType::float64, columns(w2)));
  Tape tape;
  std::vector<LinearWeights> parts{weight(0, half)};
  if (share > half) parts.push_back(weight(half, share - half));
  ColumnInput input(tape, vx, tensor);
  const Var hidden = parts.size() == 2 ? input.linear(tape, {parts[0], parts[1]}) : input.linear(tape, {parts[0]});
  const Var result = row_linear(tape, hidden, vw2, tensor);
  expect_near(result.value(), rows_of(y, rank * tokens, tokens, out), "y");
  tape.backward(result, Tensor::of(cpu, {tokens, out}, DType::float64, rows_of(seed, rank * tokens, tokens, out)));
  expect_near(vx.gradient()->value(), rows_of(dx, rank * tokens, tokens, in), "dx");
  expect_near(vw2.gradient()->value(), columns(dw2), "dw2");
  int64_t begin = rank * share;
  for (const LinearWeights& part : parts) {
    const int64_t count = part.weight.size(0);
    expect_near(part.weight.gradient()->value(), rows_of(dw1, begin, count, in), "dw1");
    expect_near(part.bias.gradient()->value(), rows_of(db1, begin, count, 1), "db1");
    begin += count;
  }
}

TEST(VocabularyLoss, EqualsOneRankWithAnOddVocabulary) {
  const int64_t t = testing::world().size(), m = 3, n = m * t, h = 4, vocabulary = 13;
  const auto mesh = testing::mesh_of({1, 1, t});
  Communicator& tensor = mesh->group(Axis::tensor);
  const Device cpu = Device::cpu();
  const int64_t local = (vocabulary + t - 1) / t, first = tensor.rank() * local;
  const auto x = waves(n * h, 0.7);
  auto w = waves(vocabulary * h, 1.1);
  w.resize(static_cast<size_t>(local * t * h), 0.0);  // padding rows
  std::vector<double> targets(static_cast<size_t>(n));
  for (int64_t i = 0; i < n; ++i) targets[static_cast<size_t>(i)] = i % 4 == 3 ? -1 : static_cast<double>(i * 5 % vocabulary);
  const double scale = 0.25;
  double loss = 0;
  std::vector<double> dx(n * h), dw(static_cast<size_t>(local * t * h));
  for (int64_t i = 0; i < n; ++i) {
    const int64_t target = static_cast<int64_t>(targets[static_cast<size_t>(i)]);
    if (target < 0) continue;
    std::vector<double> logits(static_cast<size_t>(vocabulary));
    double sum = 0;
    for (int64_t v = 0; v < vocabulary; ++v) {
      for (int64_t k = 0; k < h; ++k) logits[v] += x[i * h + k] * w[v * h + k];
      sum += std::exp(logits[v]);
    }
    loss += std::log(sum) - logits[target];
    for (int64_t v = 0; v < vocabulary; ++v) {
      const double d = (std::exp(logits[v]) / sum - (v == target)) * scale;
      for (int64_t k = 0; k < h; ++k) {
        dx[i * h + k] += d * w[v * h + k];
        dw[v * h + k] += d * x[i * h + k];
      }
    }
  }
  const Var vx = leaf(Tensor::of(cpu, {m, h}, DType::float64, rows_of(x, tensor.rank() * m, m, h)));
  const Var vw = leaf(Tensor::of(cpu, {local, h}, DType::float64, rows_of(w, first, local, h)));
  Tape tape;
  const VocabularyLoss result =
      vocabulary_loss(tape, vx, vw, Tensor::of(cpu, {n}, DType::int32, targets), tensor, vocabulary, scale);
  tape.backward(result.loss);
  double total = result.sum;
  tensor.all_reduce(&total, 1, DType::float64, Reduction::sum, Purpose{"test"}).wait();
  EXPECT_NEAR(total, loss, 1e-10);
  expect_near(vx.gradient()->value(), rows_of(dx, tensor.rank() * m, m, h), "dx");
  expect_near(vw.gradient()->value(), rows_of(dw, first, local, h), "dw");
}

TEST(ShardedAdamW, EqualsOneRankAndOwnsEveryElementOnce) {
  const Device cpu = Device::cpu();
  ModelConfig c;
  c.vocab_size = 31;
  c.parscale_n = 4;
  c.parscale_n_tokens = 3;
  c.enable_cross_attn = true;
  const auto trained = [&](const Mesh& mesh, DType dtype, int64_t* state_bytes) {
    TrainingOptions options;
    options.dtype = dtype;
    options.bucket_bytes = 2000;
    options.optimizer.weight_decay = 0.1;
    Training training(cpu, mesh, c, options);
    training.initialize(5);
    if (state_bytes != nullptr) *state_bytes = cpu.allocator().stats(MemoryKind::optimizer).current;
    std::vector<int32_t> tokens(static_cast<size_t>(8 * 10));
    for (size_t i = 0; i < tokens.size(); ++i) tokens[i] = static_cast<int32_t>(i * 7 % 31);
    const int64_t each = 8 / mesh.layout().data;
    const auto mine = std::span(tokens).subspan(static_cast<size_t>(mesh.coordinates().data * each * 10),
                                                static_cast<size_t>(each * 10));
    const Batch batch = make_batch(cpu, mine, {}, each, 9, training.model().token_multiple());
    for (int step = 0; step < 3; ++step) training.step(std::span(&batch, 1), 72, 1e-2);
    const uint64_t hash = training.optimizer().state_hash();
    double most = static_cast<double>(hash % 1000003);
    const double own = most;
    mesh.group(AxisSet::all()).all_reduce(&most, 1, DType::float64, Reduction::max, Purpose{"test"}).wait();
    EXPECT_EQ(own, most);  // every rank knows the same hash
    return gather_whole(training, mesh, Which::weight);
  };
  const auto self = make_self_mesh();
  int64_t whole = 0, part = 0;
  const auto alone = trained(*self, DType::float64, &whole);
  for (const Layout& layout : testing::layouts()) {
    if (4 % layout.replica != 0 || 4 % layout.tensor != 0) continue;
    const auto mesh = testing::mesh_of(layout);
    const auto together = trained(*mesh, DType::float64, &part);
    for (const auto& [name, values] : alone)
      for (size_t i = 0; i < values.size(); ++i)
        ASSERT_NEAR(together.at(name)[i], values[i], 2e-6) << to_string(layout) << " " << name << " " << i;
    // The state is spread over all ranks; pieces of ceil(s/k) and blocks of 64 bytes cost a little.
    EXPECT_LT(part, whole / layout.world() * 1.3 + 64 * 2 * 200) << to_string(layout);
    EXPECT_NO_FATAL_FAILURE(trained(*mesh, DType::bfloat16, nullptr));
  }
}

TEST(GradientBuckets, SendOnlyAfterTheLastMicroBatch) {
  const int64_t ranks = testing::world().size();
  if (ranks == 1) GTEST_SKIP() << "one rank sends nothing";
  const Device cpu = Device::cpu();
  const auto mesh = testing::mesh_of({ranks, 1, 1});
  ParameterSet parameters(cpu, *mesh, DType::float32, false);
  Parameter& p = parameters.declare({.name = "p", .shape = {3, 5}});
  GradientBuckets buckets(parameters, 1 << 20);
  const auto sent = [&] {
    const auto counts = mesh->counters().snapshot();
    const auto found = counts.find({Axis::data, "gradients"});
    return found == counts.end() ? 0 : found->second.calls;
  };
  const auto micro_batch = [&] {
    Tape tape;
    const Var v = p.var();
    const Var out = tape.op(p.local(), {&v, &v}, [g = v.gradient()](Tensor dy) { g->add(dy); });
    EXPECT_EQ(sent(), 0);
    tape.backward(out, Tensor::of(cpu, {3, 5}, DType::float32, std::vector<double>(15, mesh->rank() + 1.0)));
  };
  micro_batch();
  EXPECT_EQ(sent(), 0);
  buckets.start_last_micro_batch();
  micro_batch();
  EXPECT_EQ(sent(), 1);  // before finish
  buckets.finish();
  const double expected = static_cast<double>(ranks * (ranks + 1));  // 2 micro-batches of 1 + 2 + ... + ranks
  for (OwnedPiece* piece : buckets.pieces())
    for (const double value : piece->gradient.to_vector()) EXPECT_EQ(value, expected);
}

}  // namespace
}  // namespace pscale
