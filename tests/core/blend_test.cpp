#include "core/ops/blend.h"

#include <gtest/gtest.h>

#include "core/autograd/gradient_check.h"
#include "tests/core/devices.h"
#include "tests/core/values.h"

namespace pscale {
namespace {

using testing::at;
using testing::wavy;

struct Case {
  int64_t tokens, replicas, local, first, columns;
};
const std::vector<Case> kCases = {{1, 1, 1, 0, 1},    {3, 2, 2, 0, 7},   {5, 4, 2, 2, 33},
                                  {130, 8, 4, 4, 65}, {7, 3, 1, 1, 128}, {3, 4, 3, 1, 515}};

TEST(Shares, EqualThePlainFormula) {
  for (const auto& cpu : testing::cpu_devices())
    for (const DType dtype : testing::kFloats)
      for (const int64_t replicas : {1, 2, 3, 8, 16})
        for (const double smooth : {0.0, 0.01, 1.0}) {
          const int64_t tokens = 37;
          const Var score = leaf(wavy(*cpu, {tokens, replicas}, dtype, 0.7, 3));
          const Tensor dout = wavy(*cpu, {tokens, replicas}, dtype, 0.31);
          const std::vector<double> d = dout.to_vector();
          Tape tape;
          const Var y = shares(tape, score, smooth);
          tape.backward(y, dout);
          const double tolerance = testing::tolerance(dtype), count = static_cast<double>(replicas);
          for (int64_t t = 0; t < tokens; ++t) {
            double sum = 0, mean = 0;
            std::vector<double> p(at(replicas));
            for (int64_t j = 0; j < replicas; ++j)
              sum += p[at(j)] = std::exp(score.value().item(t * replicas + j));
            for (int64_t j = 0; j < replicas; ++j) mean += (p[at(j)] /= sum) * d[at(t * replicas + j)];
            for (int64_t j = 0; j < replicas; ++j) {
              const int64_t i = t * replicas + j;
              ASSERT_NEAR(y.value().item(i), p[at(j)] * (1 - smooth) + smooth / count, tolerance)
                  << cpu->name();
              ASSERT_NEAR(score.gradient()->value().item(i), (1 - smooth) * p[at(j)] * (d[at(i)] - mean),
                          tolerance)
                  << cpu->name() << " " << name_of(dtype) << " smooth " << smooth;
            }
          }
        }
}

TEST(Shares, LargeScoresDoNotOverflow) {
  const Device cpu = Device::cpu();
  Tape off(Tape::Mode::off);
  const Tensor y =
      shares(off, constant(Tensor::of(cpu, {1, 3}, DType::float32, {1000, 1000, -1000})), 0).value();
  EXPECT_NEAR(y.item(0), 0.5, 1e-6);
  EXPECT_NEAR(y.item(1), 0.5, 1e-6);
  EXPECT_NEAR(y.item(2), 0, 1e-6);
}

TEST(Shares, GradientEqualsFiniteDifferences) {
  for (const auto& cpu : testing::cpu_devices())
    for (const double smooth : {0.0, 0.2}) {
      const auto f = [&](Tape& tape, const std::vector<Var>& in) { return shares(tape, in[0], smooth); };
      EXPECT_EQ(check_gradients(f, {wavy(*cpu, {5, 4}, DType::float64, 0.7, 2)}), "") << cpu->name();
    }
}

TEST(Blend, EqualsThePlainFormula) {
  for (const auto& cpu : testing::cpu_devices())
    for (const DType dtype : testing::kFloats)
      for (const Case& c : kCases) {
        const Var x = leaf(wavy(*cpu, {c.tokens, c.local, c.columns}, dtype, 0.7));
        const Var share = leaf(wavy(*cpu, {c.tokens, c.replicas}, dtype, 0.31));
        const Tensor dout = wavy(*cpu, {c.tokens, c.columns}, dtype, 1.1);
        const std::vector<double> xs = x.value().to_vector(), ss = share.value().to_vector(),
                                  ds = dout.to_vector();
        Tape tape;
        const Var y = blend(tape, x, share, c.first);
        tape.backward(y, dout);
        const double tolerance = 20 * testing::tolerance(dtype);
        const auto row = [&](int64_t t, int64_t j, int64_t i) { return (t * c.local + j) * c.columns + i; };
        for (int64_t t = 0; t < c.tokens; ++t) {
          for (int64_t i = 0; i < c.columns; ++i) {
            double sum = 0;
            for (int64_t j = 0; j < c.local; ++j) {
              const double s = ss[at(t * c.replicas + c.first + j)];
              sum += s * xs[at(row(t, j, i))];
              ASSERT_NEAR(x.gradient()->value().item(row(t, j, i)), s * ds[at(t * c.columns + i)], tolerance);
            }
            ASSERT_NEAR(y.value().item(t * c.columns + i), sum, tolerance)
                << cpu->name() << " " << name_of(dtype);
          }
          for (int64_t j = 0; j < c.replicas; ++j) {
            double dot = 0;
            if (j >= c.first && j < c.first + c.local)
              for (int64_t i = 0; i < c.columns; ++i)
                dot += xs[at(row(t, j - c.first, i))] * ds[at(t * c.columns + i)];
            ASSERT_NEAR(share.gradient()->value().item(t * c.replicas + j), dot, tolerance) << cpu->name();
          }
        }
      }
}

TEST(Blend, GradientsEqualFiniteDifferences) {
  for (const auto& cpu : testing::cpu_devices())
    for (const Case& c : kCases) {
      const Tensor x = wavy(*cpu, {c.tokens, c.local, c.columns}, DType::float64, 0.7);
      const Tensor share = wavy(*cpu, {c.tokens, c.replicas}, DType::float64, 0.31);
      if (c.local < c.replicas && c.tokens > 10) continue;
      const auto f = [&](Tape& tape, const std::vector<Var>& in) {
        return blend(tape, in[0], in[1], c.first);
      };
      EXPECT_EQ(check_gradients(f, {x, share}), "") << cpu->name();
      const auto only_x = [&](Tape& tape, const std::vector<Var>& in) {
        return blend(tape, in[0], constant(share), c.first);
      };
      EXPECT_EQ(check_gradients(only_x, {x}), "") << cpu->name();
      const auto only_shares = [&](Tape& tape, const std::vector<Var>& in) {
        return blend(tape, constant(x), in[0], c.first);
      };
      EXPECT_EQ(check_gradients(only_shares, {share}), "") << cpu->name();
    }
}

TEST(Blend, GivesTheSameBitsTwice) {
  const Device cpu = Device::cpu();
  std::vector<double> first;
  for (int run = 0; run < 2; ++run) {
    const Var x = leaf(wavy(cpu, {200, 4, 65}, DType::float32, 0.7)),
              score = leaf(wavy(cpu, {200, 4}, DType::float32, 0.3));
    Tape tape;
    tape.backward(blend(tape, x, shares(tape, score, 0.01), 0), wavy(cpu, {200, 65}, DType::float32, 1.1));
    std::vector<double> all = x.gradient()->value().to_vector();
    for (const double g : score.gradient()->value().to_vector()) all.push_back(g);
    if (run == 0) first = all;
    EXPECT_EQ(first, all);
  }
}

TEST(ShareEntropy, SumsTheFirstRows) {
  for (const auto& cpu : testing::cpu_devices())
    for (const DType dtype : testing::kFloats) {
      const Tensor s = Tensor::of(*cpu, {3, 2}, dtype, {0.5, 0.5, 1, 0, 0.25, 0.75});
      const double last = -0.25 * std::log(0.25) - 0.75 * std::log(0.75);
      EXPECT_NEAR(share_entropy_sum(s, 2), std::log(2.0), 1e-12) << cpu->name();
      EXPECT_NEAR(share_entropy_sum(s, 3), std::log(2.0) + last, 1e-12) << cpu->name();
      EXPECT_EQ(share_entropy_sum(s, 0), 0);
    }
}

TEST(NormalizedSum, GivesTheMeanCosine) {
  for (const auto& cpu : testing::cpu_devices())
    for (const DType dtype : testing::kFloats)
      for (const int64_t streams : {2, 5})
        for (const int64_t columns : {3, 65, 515}) {
          const int64_t tokens = 4;
          const Tensor x = wavy(*cpu, {tokens, streams, columns}, dtype, 0.71, 3);
          const Tensor out = Tensor::empty(*cpu, {tokens, columns}, dtype);
          normalized_sum(x, out);
          const double tolerance = 10 * testing::tolerance(dtype);
          for (int64_t t = 0; t < tokens; ++t) {
            std::vector<double> expected(at(columns));
            double cosines = 0, length = 0;
            const auto dot = [&](int64_t j, int64_t k) {
              double sum = 0;
              for (int64_t c = 0; c < columns; ++c)
                sum += x.item((t * streams + j) * columns + c) * x.item((t * streams + k) * columns + c);
              return sum;
            };
            for (int64_t j = 0; j < streams; ++j) {
              for (int64_t c = 0; c < columns; ++c)
                expected[at(c)] += x.item((t * streams + j) * columns + c) / std::sqrt(dot(j, j));
              for (int64_t k = 0; k < streams; ++k)
                if (k != j) cosines += dot(j, k) / std::sqrt(dot(j, j) * dot(k, k));
            }
            for (int64_t c = 0; c < columns; ++c) {
              ASSERT_NEAR(out.item(t * columns + c), expected[at(c)], tolerance)
                  << cpu->name() << " " << name_of(dtype);
              length += out.item(t * columns + c) * out.item(t * columns + c);
            }
            EXPECT_NEAR(length - static_cast<double>(streams), cosines, 10 * tolerance) << cpu->name();
          }
        }
}

TEST(NormalizedSum, AStreamOfZerosHasNoDirection) {
  const Device cpu = Device::cpu();
  const Tensor x = Tensor::of(cpu, {1, 2, 2}, DType::float32, {0, 0, 3, 4}),
               out = Tensor::empty(cpu, {1, 2}, DType::float32);
  normalized_sum(x, out);
  EXPECT_NEAR(out.item(0), 0.6, 1e-6);
  EXPECT_NEAR(out.item(1), 0.8, 1e-6);
}

}  // namespace
}  // namespace pscale
