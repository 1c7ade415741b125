#include "core/ops/cross_entropy.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <limits>

#include "tests/core/devices.h"
#include "tests/core/values.h"

namespace pscale {
namespace {

using testing::at;
using testing::waves;

const std::vector<DType> kTypes = {DType::float32, DType::float64};

struct Case {
  int64_t rows, vocabulary, parts;
};
// Not divided by the parts: the last has fewer valid columns, or none.
const std::vector<Case> kCases = {{1, 1, 1}, {3, 7, 2}, {5, 130, 1}, {7, 9, 4}, {300, 131, 2}, {4, 5, 4}};

int64_t target_of(int64_t row, int64_t vocabulary) { return row % 4 == 2 ? -1 : row * 37 % vocabulary; }

/// Each part's logits [rows, columns], with what must not be read behind the valid columns.
struct Parts {
  std::vector<Tensor> logits;
  std::vector<int64_t> first, valid;
  Tensor targets;

  Parts(const Device& cpu, const Case& c, DType dtype, const std::vector<double>& all) {
    const int64_t columns = (c.vocabulary + c.parts - 1) / c.parts + 1;
    const int64_t each = columns - 1;
    for (int64_t p = 0; p < c.parts; ++p) {
      first.push_back(p * each);
      valid.push_back(std::max<int64_t>(0, std::min(each, c.vocabulary - p * each)));
      std::vector<double> part(at(c.rows * columns), 1e30);
      for (int64_t r = 0; r < c.rows; ++r)
        for (int64_t i = 0; i < valid.back(); ++i)
          part[at(r * columns + i)] = all[at(r * c.vocabulary + p * each + i)];
      logits.push_back(Tensor::of(cpu, {c.rows, columns}, dtype, part));
    }
    std::vector<double> t;
    for (int64_t r = 0; r < c.rows; ++r) t.push_back(static_cast<double>(target_of(r, c.vocabulary)));
    targets = Tensor::of(cpu, {c.rows}, DType::int32, t);
  }
};

struct Result {
  Tensor lse, target_logit;
  double loss;
};

/// What the ranks do together: statistics of each part, gathered and combined, then each part's gradient in
/// place.
Result run(const Device& cpu, const Case& c, DType dtype, const Parts& parts, double scale) {
  const Tensor gathered = Tensor::empty(cpu, {c.parts, c.rows, 3}, dtype);
  for (int64_t p = 0; p < c.parts; ++p)
    softmax_statistics(parts.logits[at(p)], parts.targets, parts.first[at(p)], parts.valid[at(p)],
                       gathered.narrow(p, 1));
  Result result{Tensor::empty(cpu, {c.rows}, dtype), Tensor::empty(cpu, {c.rows}, dtype), 0};
  combine_statistics(gathered, result.lse, result.target_logit);
  result.loss = cross_entropy_sum(result.lse, result.target_logit, parts.targets);
  for (int64_t p = 0; p < c.parts; ++p)
    softmax_gradient(parts.logits[at(p)], result.lse, parts.targets, parts.first[at(p)], parts.valid[at(p)],
                     scale);
  return result;
}

TEST(CrossEntropy, EqualsThePlainFormula) {
  for (const auto& cpu : testing::cpu_devices())
    for (const DType dtype : kTypes)
      for (const Case& c : kCases)
        for (const double size : {3.0, 200.0}) {  // far beyond what e^x can hold
          std::vector<double> all = waves(c.rows * c.vocabulary, 0.71, size);
          if (dtype == DType::float32)
            for (double& x : all) x = static_cast<float>(x);
          const Parts parts(*cpu, c, dtype, all);
          const double scale = 0.37;
          const Result got = run(*cpu, c, dtype, parts, scale);
          const double tolerance = size * (dtype == DType::float64 ? 1e-13 : 1e-6);
          double loss = 0;
          for (int64_t r = 0; r < c.rows; ++r) {
            const double* x = &all[at(r * c.vocabulary)];
            const double most = *std::max_element(x, x + c.vocabulary);
            double sum = 0;
            for (int64_t i = 0; i < c.vocabulary; ++i) sum += std::exp(x[i] - most);
            const double lse = most + std::log(sum);
            const int64_t target = target_of(r, c.vocabulary);
            if (target >= 0) loss += lse - x[target];
            ASSERT_NEAR(got.lse.item(r), lse, tolerance) << cpu->name() << " " << name_of(dtype);
            ASSERT_NEAR(got.target_logit.item(r), target >= 0 ? x[target] : 0, tolerance) << cpu->name();
            for (int64_t p = 0; p < c.parts; ++p)
              for (int64_t i = 0; i < parts.logits[at(p)].columns(); ++i) {
                const int64_t entry = parts.first[at(p)] + i;
                double expected = 0;
                if (target >= 0 && i < parts.valid[at(p)])
                  expected = (std::exp(x[entry] - lse) - (entry == target ? 1 : 0)) * scale;
                const double value = parts.logits[at(p)].item(r * parts.logits[at(p)].columns() + i);
                if (target < 0 || i >= parts.valid[at(p)]) {
                  ASSERT_EQ(value, 0) << cpu->name();
                } else {
                  ASSERT_NEAR(value, expected, tolerance)
                      << cpu->name() << " " << name_of(dtype) << " " << c.parts;
                }
              }
          }
          ASSERT_NEAR(got.loss, loss, tolerance * static_cast<double>(c.rows))
              << cpu->name() << " " << name_of(dtype);
        }
}

TEST(CrossEntropy, GradientEqualsFiniteDifferences) {
  for (const auto& cpu : testing::cpu_devices()) {
    const Case c{3, 11, 2};
    std::vector<double> all = waves(c.rows * c.vocabulary, 0.71, 2);
    const Parts parts(*cpu, c, DType::float64, all);
    run(*cpu, c, DType::float64, parts, 1);
    for (int64_t r = 0; r < c.rows; ++r)
      for (int64_t i = 0; i < c.vocabulary; ++i) {
        double value[2];
        for (int side = 0; side < 2; ++side) {
          std::vector<double> moved = all;
          moved[at(r * c.vocabulary + i)] += side == 0 ? -1e-5 : 1e-5;
          value[side] = run(*cpu, c, DType::float64, Parts(*cpu, c, DType::float64, moved), 1).loss;
        }
        const int64_t each = parts.first[1], p = i / each, columns = parts.logits[at(p)].columns();
        EXPECT_NEAR(parts.logits[at(p)].item(r * columns + i % each), (value[1] - value[0]) / 2e-5, 1e-8)
            << cpu->name();
      }
  }
}

TEST(CrossEntropy, WhatIsNotFiniteShowsInTheLoss) {
  const double inf = std::numeric_limits<double>::infinity(), nan = std::numeric_limits<double>::quiet_NaN();
  for (const auto& cpu : testing::cpu_devices())
    for (const DType dtype : kTypes)
      for (const int64_t parts : {1, 2})
        for (const int64_t place : {0, 17, 39, 40, 79})
          for (const double bad : {nan, inf, -inf}) {
            const Case c{2, 80, parts};
            std::vector<double> all = waves(c.rows * c.vocabulary, 0.71);
            all[at(place)] = bad;
            const Result got = run(*cpu, c, dtype, Parts(*cpu, c, dtype, all), 1);
            EXPECT_FALSE(std::isfinite(got.loss))
                << cpu->name() << " " << name_of(dtype) << " " << bad << " at " << place;
            EXPECT_FALSE(std::isfinite(got.lse.item(0))) << cpu->name();
            EXPECT_TRUE(std::isfinite(got.lse.item(1))) << cpu->name();
          }
}

TEST(CrossEntropy, RowsWithoutTargetCountNothing) {
  const Device cpu = Device::cpu();
  const Tensor lse = Tensor::of(cpu, {3}, DType::float32, {5, std::numeric_limits<double>::quiet_NaN(), 2});
  const Tensor logit = Tensor::of(cpu, {3}, DType::float32, {1, 0, 1.5});
  EXPECT_EQ(cross_entropy_sum(lse, logit, Tensor::of(cpu, {3}, DType::int32, {0, -1, 4})), 4.5);
}

TEST(CrossEntropy, GivesTheSameBitsTwice) {
  for (const auto& cpu : testing::cpu_devices()) {
    const Case c{300, 131, 2};
    const std::vector<double> all = waves(c.rows * c.vocabulary, 0.71, 3);
    std::vector<double> first;
    for (int pass = 0; pass < 2; ++pass) {
      const Parts parts(*cpu, c, DType::float32, all);
      std::vector<double> values = {run(*cpu, c, DType::float32, parts, 0.3).loss};
      for (const Tensor& part : parts.logits)
        for (const double x : part.to_vector()) values.push_back(x);
      if (pass == 0) first = values;
      EXPECT_EQ(first, values) << cpu->name();
    }
  }
}

}  // namespace
}  // namespace pscale
