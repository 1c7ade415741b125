#include "core/ops/cross_replica.h"

#include <gtest/gtest.h>

#include "core/autograd/gradient_check.h"
#include "tests/core/devices.h"
#include "tests/core/values.h"

namespace pscale {
namespace {

using testing::at;
using testing::wavy;

struct Case {
  int64_t tokens, ranks, streams;
  int heads, kv_heads, head_dim;
};
const std::vector<Case> kCases = {{1, 1, 1, 1, 1, 8},  {3, 1, 2, 4, 2, 12}, {5, 2, 1, 4, 1, 7},
                                  {7, 1, 4, 6, 3, 64}, {9, 2, 4, 4, 4, 33}, {2, 3, 2, 2, 2, 1}};

struct Problem {
  Case c;
  std::vector<double> q, kv, dout;   // as the kernel sees them
  std::vector<double> out, dq, dkv;  // expected

  int64_t query(int64_t t, int64_t j, int64_t h, int64_t d) const {
    return ((t * c.streams + j) * c.heads + h) * c.head_dim + d;
  }
  int64_t key(int64_t t, int64_t replica, int64_t h, int64_t d, bool value) const {
    const int64_t rank = replica / c.streams, stream = replica % c.streams, group = c.heads / c.kv_heads;
    const int64_t row = (rank * c.tokens + t) * c.streams + stream;
    return (row * 2 * c.kv_heads + (value ? c.kv_heads : 0) + h / group) * c.head_dim + d;
  }
  void solve() {
    out.assign(q.size(), 0);
    dq.assign(q.size(), 0);
    dkv.assign(kv.size(), 0);
    const int64_t replicas = c.ranks * c.streams;
    const double scale = 1 / std::sqrt(static_cast<double>(c.head_dim));
    for (int64_t t = 0; t < c.tokens; ++t)
      for (int64_t j = 0; j < c.streams; ++j)
        for (int64_t h = 0; h < c.heads; ++h) {
          std::vector<double> p(at(replicas)), dp(at(replicas));
          double sum = 0, mean = 0;
          for (int64_t k = 0; k < replicas; ++k) {
            double score = 0;
            for (int64_t d = 0; d < c.head_dim; ++d)
              score += q[at(query(t, j, h, d))] * kv[at(key(t, k, h, d, false))];
            p[at(k)] = std::exp(score * scale);
            sum += p[at(k)];
          }
          for (int64_t k = 0; k < replicas; ++k) {
            p[at(k)] /= sum;
            for (int64_t d = 0; d < c.head_dim; ++d) {
              const double v = kv[at(key(t, k, h, d, true))], g = dout[at(query(t, j, h, d))];
              out[at(query(t, j, h, d))] += p[at(k)] * v;
              dp[at(k)] += g * v;
              dkv[at(key(t, k, h, d, true))] += p[at(k)] * g;
            }
            mean += p[at(k)] * dp[at(k)];
          }
          for (int64_t k = 0; k < replicas; ++k)
            for (int64_t d = 0; d < c.head_dim; ++d) {
              const double slope = p[at(k)] * (dp[at(k)] - mean) * scale;
              dq[at(query(t, j, h, d))] += slope * kv[at(key(t, k, h, d, false))];
              dkv[at(key(t, k, h, d, false))] += slope * q[at(query(t, j, h, d))];
            }
        }
  }
};

struct Inputs {
  Tensor q, kv, dout;
  Inputs(const Device& cpu, const Case& c, DType dtype)
      : q(wavy(cpu, {c.tokens, c.streams, int64_t{c.heads} * c.head_dim}, dtype, 0.7, 1.5)),
        kv(wavy(cpu, {c.ranks, c.tokens, c.streams, int64_t{2} * c.kv_heads * c.head_dim}, dtype, 1.3)),
        dout(wavy(cpu, q.shape(), dtype, 0.31)) {}
};

TEST(CrossReplica, EqualsThePlainFormula) {
  for (const auto& cpu : testing::cpu_devices())
    for (const DType dtype : testing::kFloats)
      for (const Case& c : kCases) {
        const Inputs in(*cpu, c, dtype);
        Problem expected{c, in.q.to_vector(), in.kv.to_vector(), in.dout.to_vector(), {}, {}, {}};
        expected.solve();
        const Var q = leaf(in.q), kv = leaf(in.kv);
        Tape tape;
        const Var out = cross_replica_attention(tape, q, kv, {c.heads, c.kv_heads, c.head_dim});
        tape.backward(out, in.dout);
        const double scale = 4 * testing::tolerance(dtype);
        for (size_t i = 0; i < expected.out.size(); ++i) {
          ASSERT_NEAR(out.value().item(static_cast<int64_t>(i)), expected.out[i], scale)
              << cpu->name() << name_of(dtype);
          ASSERT_NEAR(q.gradient()->value().item(static_cast<int64_t>(i)), expected.dq[i], scale)
              << cpu->name();
        }
        for (size_t i = 0; i < expected.dkv.size(); ++i)
          ASSERT_NEAR(kv.gradient()->value().item(static_cast<int64_t>(i)), expected.dkv[i], scale)
              << cpu->name();
      }
}

TEST(CrossReplica, GradientsEqualFiniteDifferences) {
  for (const auto& cpu : testing::cpu_devices())
    for (const Case& c : kCases) {
      const Inputs in(*cpu, c, DType::float64);
      const auto f = [&](Tape& tape, const std::vector<Var>& x) {
        return cross_replica_attention(tape, x[0], x[1], {c.heads, c.kv_heads, c.head_dim});
      };
      EXPECT_EQ(check_gradients(f, {in.q, in.kv}), "") << cpu->name() << " " << c.head_dim;
    }
}

TEST(CrossReplica, LargeScoresDoNotOverflow) {
  for (const auto& cpu : testing::cpu_devices()) {
    const Case c{2, 1, 2, 1, 1, 16};
    const Tensor q = wavy(*cpu, {2, 2, 16}, DType::float32, 0.7, 300),
                 kv = wavy(*cpu, {1, 2, 2, 32}, DType::float32, 1.3, 30);
    Tape off(Tape::Mode::off);
    const Tensor out =
        cross_replica_attention(off, constant(q), constant(kv), {c.heads, c.kv_heads, c.head_dim}).value();
    for (const double x : out.to_vector())
      EXPECT_LE(std::abs(x), 33.1) << cpu->name();  // values are below 30 * 1.1
  }
}

TEST(CrossReplica, ManyTokensNeedNoMoreStack) {
  const Device cpu = Device::cpu();
  const int64_t tokens = 200000;
  const Tensor q = Tensor::zeros(cpu, {tokens, 1, 64}, DType::float32),
               kv = Tensor::zeros(cpu, {1, tokens, 1, 128}, DType::float32);
  Tape off(Tape::Mode::off);
  const Tensor out = cross_replica_attention(off, constant(q), constant(kv), {1, 1, 64}).value();
  EXPECT_EQ(out.item(tokens * 64 - 1), 0);
}

TEST(CrossReplica, GivesTheSameBitsTwice) {
  for (const auto& cpu : testing::cpu_devices()) {
    const Case c{129, 2, 2, 4, 2, 24};
    std::vector<double> first;
    for (int run = 0; run < 2; ++run) {
      const Inputs in(*cpu, c, DType::float32);
      const Var q = leaf(in.q), kv = leaf(in.kv);
      Tape tape;
      tape.backward(cross_replica_attention(tape, q, kv, {c.heads, c.kv_heads, c.head_dim}), in.dout);
      std::vector<double> all = q.gradient()->value().to_vector();
      for (const double x : kv.gradient()->value().to_vector()) all.push_back(x);
      if (run == 0) first = all;
      EXPECT_EQ(first, all) << cpu->name();
    }
  }
}

}  // namespace
}  // namespace pscale
