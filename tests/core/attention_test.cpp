#include "core/ops/attention.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <limits>
#include <sstream>

#include "core/autograd/gradient_check.h"
#include "tests/core/devices.h"
#include "tests/core/values.h"

namespace pscale {
namespace {

using testing::at;
using testing::wavy;

struct Case {
  int64_t batch, length, padding, streams;
  int heads, kv_heads, head_dim;
  int64_t prefix = 0, window = 0,
          documents = 0;  // documents: a new one every so many positions, not aligned to sequences
  int64_t ranks = 0;      // > 0: joint

  int64_t tokens() const { return batch * length + padding; }
  std::string name() const {
    std::ostringstream s;
    s << "B" << batch << " S" << length << "+" << padding << " p" << streams << " N" << heads << " K"
      << kv_heads << " D" << head_dim << " T" << prefix << " w" << window << " doc" << documents << " R"
      << ranks;
    return s.str();
  }
  int64_t start(int64_t s) const { return documents > 0 ? s / documents * documents : 0; }
};

const std::vector<Case> kSmall = {
    {1, 1, 0, 1, 1, 1, 8},
    {2, 7, 3, 1, 4, 2, 12},
    {1, 7, 0, 2, 4, 1, 8, 1},
    {2, 7, 2, 2, 2, 2, 8, 3, 3},
    {1, 9, 0, 1, 4, 4, 6, 2, 0, 4},
    {2, 5, 1, 2, 2, 1, 8, 2, 0, 0, 1},
    {1, 6, 2, 2, 4, 2, 8, 3, 2, 4, 2},
    {1, 1, 0, 8, 1, 1, 2, 1, 0, 0, 32},
};
const std::vector<Case> kLarge = {
    {2, 65, 0, 2, 4, 1, 64, 48},           {1, 130, 5, 1, 2, 2, 96},
    {1, 200, 0, 2, 4, 2, 12, 1},           {1, 200, 3, 1, 4, 1, 8, 48, 70},
    {2, 200, 1, 1, 2, 1, 64, 130, 0, 77},  {1, 130, 2, 2, 4, 2, 12, 48, 0, 0, 2},
    {1, 200, 0, 2, 2, 2, 8, 1, 65, 90, 2},
};

struct Inputs {
  Tensor q, kv, prefix_k, prefix_v, dout;
  AttentionSpec spec;
  Inputs(const Device& cpu, const Case& c, DType dtype) {
    const int64_t columns = int64_t{2} * c.kv_heads * c.head_dim;
    q = wavy(cpu, {c.tokens(), c.streams, int64_t{c.heads} * c.head_dim}, dtype, 0.71, 1.5);
    Shape shape = {c.tokens(), c.streams, columns};
    if (c.ranks > 0) shape.insert(shape.begin(), c.ranks);
    kv = wavy(cpu, shape, dtype, 1.37);
    dout = wavy(cpu, q.shape(), dtype, 0.31);
    if (c.prefix > 0) {
      prefix_k = wavy(cpu, {c.streams, c.kv_heads, c.prefix, c.head_dim}, dtype, 0.53);
      prefix_v = wavy(cpu, {c.streams, c.kv_heads, c.prefix, c.head_dim}, dtype, 0.93);
    }
    spec = {c.batch, c.length, c.heads, c.kv_heads, c.head_dim, c.window, c.ranks > 0, {}};
    if (c.documents > 0) {
      std::vector<double> starts(at(c.tokens()));
      for (int64_t t = 0; t < c.batch * c.length; ++t)
        starts[at(t)] = static_cast<double>(c.start(t % c.length));
      spec.starts = Tensor::of(cpu, {c.tokens()}, DType::int32, starts);
    }
  }
};

/// The plain formula, a query at a time.
struct Reference {
  std::vector<double> out, dq, dkv, dprefix_k, dprefix_v;

  Reference(const Case& c, const Inputs& in) {
    const std::vector<double> q = in.q.to_vector(), kv = in.kv.to_vector(), dout = in.dout.to_vector();
    const std::vector<double> pk = c.prefix > 0 ? in.prefix_k.to_vector() : std::vector<double>();
    const std::vector<double> pv = c.prefix > 0 ? in.prefix_v.to_vector() : std::vector<double>();
    out.assign(q.size(), 0);
    dq.assign(q.size(), 0);
    dkv.assign(kv.size(), 0);
    dprefix_k.assign(pk.size(), 0);
    dprefix_v.assign(pk.size(), 0);
    const int64_t d = c.head_dim, group = c.heads / c.kv_heads;
    const double scale = 1 / std::sqrt(static_cast<double>(d));
    struct Key {
      const double *k, *v;
      double *dk, *dv, p, dp;
    };
    for (int64_t b = 0; b < c.batch; ++b)
      for (int64_t s = 0; s < c.length; ++s)
        for (int64_t j = 0; j < c.streams; ++j)
          for (int64_t h = 0; h < c.heads; ++h) {
            const int64_t head = h / group, query = (((b * c.length + s) * c.streams + j) * c.heads + h) * d;
            std::vector<Key> keys;
            for (int64_t t = 0; t < c.prefix; ++t) {
              const size_t i = at(((j * c.kv_heads + head) * c.prefix + t) * d);
              keys.push_back({&pk[i], &pv[i], &dprefix_k[i], &dprefix_v[i], 0, 0});
            }
            const int64_t first = std::max(c.start(s), c.window > 0 ? s - c.window + 1 : 0);
            for (int64_t rank = 0; rank < std::max<int64_t>(1, c.ranks); ++rank)
              for (int64_t jk = c.ranks > 0 ? 0 : j; jk < (c.ranks > 0 ? c.streams : j + 1); ++jk)
                for (int64_t t = first; t <= s; ++t) {
                  const int64_t row = (rank * c.tokens() + b * c.length + t) * c.streams + jk;
                  const size_t k = at((row * 2 * c.kv_heads + head) * d), v = k + at(c.kv_heads * d);
                  keys.push_back({&kv[k], &kv[v], &dkv[k], &dkv[v], 0, 0});
                }
            double sum = 0, mean = 0;
            for (Key& key : keys) {
              double score = 0;
              for (int64_t i = 0; i < d; ++i) score += q[at(query + i)] * key.k[i];
              sum += key.p = std::exp(score * scale);
            }
            for (Key& key : keys) {
              key.p /= sum;
              for (int64_t i = 0; i < d; ++i) {
                out[at(query + i)] += key.p * key.v[i];
                key.dv[i] += key.p * dout[at(query + i)];
                key.dp += dout[at(query + i)] * key.v[i];
              }
              mean += key.p * key.dp;
            }
            for (Key& key : keys)
              for (int64_t i = 0; i < d; ++i) {
                dq[at(query + i)] += key.p * (key.dp - mean) * scale * key.k[i];
                key.dk[i] += key.p * (key.dp - mean) * scale * q[at(query + i)];
              }
          }
  }
};

/// "" where all entries agree, relative to the largest; padding, zero in the reference, must be exactly zero.
std::string compare(const std::string& what, const Tensor& got, const std::vector<double>& expected,
                    double tolerance) {
  if (got.elements() != static_cast<int64_t>(expected.size()))
    return what + ": shape " + to_string(got.shape());
  double largest = 1;
  for (const double x : expected) largest = std::max(largest, std::abs(x));
  const std::vector<double> values = got.to_vector();
  for (size_t i = 0; i < values.size(); ++i)
    if (!(std::abs(values[i] - expected[i]) <= tolerance * largest)) {
      std::ostringstream s;
      s << what << "[" << i << "] is " << values[i] << ", not " << expected[i];
      return s.str();
    }
  return "";
}

/// Runs both directions and compares everything with the reference.
void expect_equal(const Device& cpu, const Case& c, DType dtype) {
  SCOPED_TRACE(cat(cpu.name(), " ", name_of(dtype), " ", c.name()));
  const Inputs in(cpu, c, dtype);
  const Reference expected(c, in);
  const Var q = leaf(in.q), kv = leaf(in.kv);
  const Var pk = c.prefix > 0 ? leaf(in.prefix_k) : Var(), pv = c.prefix > 0 ? leaf(in.prefix_v) : Var();
  Tape tape;
  const Var out = attention(tape, q, kv, pk, pv, in.spec);
  tape.backward(out, in.dout);
  const double tolerance = dtype == DType::float64 ? 1e-12 : dtype == DType::float32 ? 1e-5 : 2e-2;
  EXPECT_EQ(compare("out", out.value(), expected.out, tolerance), "");
  EXPECT_EQ(compare("dq", q.gradient()->value(), expected.dq, tolerance), "");
  EXPECT_EQ(compare("dkv", kv.gradient()->value(), expected.dkv, tolerance), "");
  if (c.prefix > 0) {
    EXPECT_EQ(compare("dprefix_k", pk.gradient()->value(), expected.dprefix_k, tolerance), "");
    EXPECT_EQ(compare("dprefix_v", pv.gradient()->value(), expected.dprefix_v, tolerance), "");
  }
  // Padding: the last rows of every rank's part, exactly zero.
  const int64_t real = c.batch * c.length * c.streams, all = c.tokens() * c.streams;
  const auto expect_zero = [&](const Tensor& t, int64_t ranks) {
    for (int64_t rank = 0; rank < ranks; ++rank)
      for (int64_t i = (rank * all + real) * t.columns(); i < (rank + 1) * all * t.columns(); ++i)
        ASSERT_EQ(t.item(i), 0);
  };
  expect_zero(out.value(), 1);
  expect_zero(q.gradient()->value(), 1);
  expect_zero(kv.gradient()->value(), std::max<int64_t>(1, c.ranks));
}

TEST(Attention, SmallCasesEqualThePlainFormula) {
  for (const auto& cpu : testing::cpu_devices())
    for (const DType dtype : testing::kFloats)
      for (const Case& c : kSmall) expect_equal(*cpu, c, dtype);
}

TEST(Attention, ManyBlocksEqualThePlainFormula) {
  for (const auto& cpu : testing::cpu_devices())
    for (const DType dtype : {DType::float32, DType::bfloat16})
      for (const Case& c : kLarge) expect_equal(*cpu, c, dtype);
}

TEST(Attention, ManyBlocksInDoublePrecision) { expect_equal(Device::cpu(), kLarge[3], DType::float64); }

TEST(Attention, GradientsEqualFiniteDifferences) {
  for (const auto& cpu : testing::cpu_devices())
    for (const Case& c : kSmall) {
      const Inputs in(*cpu, c, DType::float64);
      const auto f = [&](Tape& tape, const std::vector<Var>& x) {
        return attention(tape, x[0], x[1], c.prefix > 0 ? x[2] : Var(), c.prefix > 0 ? x[3] : Var(), in.spec);
      };
      std::vector<Tensor> inputs = {in.q, in.kv};
      if (c.prefix > 0) {
        inputs.push_back(in.prefix_k);
        inputs.push_back(in.prefix_v);
      }
      EXPECT_EQ(check_gradients(f, inputs), "") << cpu->name() << " " << c.name();
    }
}

TEST(Attention, PrefixGradientsGatherInTheirOwnDtype) {
  const Device cpu = Device::cpu();
  const Case c{2, 9, 0, 2, 4, 2, 8, 3};
  const Inputs in(cpu, c, DType::bfloat16);
  const Reference expected(c, in);
  const auto wide = [&](const Tensor& t) {
    return Var(t, std::make_shared<Gradient>(cpu, t.shape(), DType::float32));
  };
  const Var pk = wide(in.prefix_k), pv = wide(in.prefix_v);
  Tape tape;
  tape.backward(attention(tape, constant(in.q), constant(in.kv), pk, pv, in.spec), in.dout);
  EXPECT_EQ(pk.gradient()->value().dtype(), DType::float32);
  EXPECT_EQ(compare("dprefix_k", pk.gradient()->value(), expected.dprefix_k, 1e-2), "");
  EXPECT_EQ(compare("dprefix_v", pv.gradient()->value(), expected.dprefix_v, 1e-4),
            "");  // no rounding but the input's
}

TEST(Attention, LargeScoresDoNotOverflow) {
  for (const auto& cpu : testing::cpu_devices()) {
    const Case c{1, 150, 0, 1, 2, 1, 16, 2};
    Inputs in(*cpu, c, DType::float32);
    in.q = wavy(*cpu, in.q.shape(), DType::float32, 0.71, 200);
    in.kv = wavy(*cpu, in.kv.shape(), DType::float32, 1.37, 30);
    const Var q = leaf(in.q), kv = leaf(in.kv);
    Tape tape;
    const Var out = attention(tape, q, kv, constant(in.prefix_k), constant(in.prefix_v), in.spec);
    tape.backward(out, in.dout);
    for (const double x : out.value().to_vector()) ASSERT_LE(std::abs(x), 33.1) << cpu->name();
    for (const double x : q.gradient()->value().to_vector()) ASSERT_TRUE(std::isfinite(x)) << cpu->name();
    for (const double x : kv.gradient()->value().to_vector()) ASSERT_TRUE(std::isfinite(x)) << cpu->name();
  }
}

TEST(Attention, NaNsAreNotHidden) {
  for (const auto& cpu : testing::cpu_devices()) {
    const Case c{1, 20, 0, 1, 1, 1, 8};
    const Inputs in(*cpu, c, DType::float32);
    in.kv.data<float>()[5 * 16] = std::numeric_limits<float>::quiet_NaN();  // a key of position 5
    Tape off(Tape::Mode::off);
    const Tensor out = attention(off, constant(in.q), constant(in.kv), Var(), Var(), in.spec).value();
    for (int64_t s = 0; s < 20; ++s)
      EXPECT_EQ(std::isnan(out.item(s * 8)), s >= 5) << cpu->name() << " position " << s;
  }
}

TEST(Attention, GivesTheSameBitsTwice) {
  for (const auto& cpu : testing::cpu_devices())
    for (const Case& c : {kLarge[0], kLarge[5]}) {
      std::vector<double> first;
      for (int run = 0; run < 2; ++run) {
        const Inputs in(*cpu, c, DType::float32);
        const Var q = leaf(in.q), kv = leaf(in.kv), pk = leaf(in.prefix_k), pv = leaf(in.prefix_v);
        Tape tape;
        tape.backward(attention(tape, q, kv, pk, pv, in.spec), in.dout);
        std::vector<double> all;
        for (const Var* x : {&q, &kv, &pk, &pv})
          for (const double g : x->gradient()->value().to_vector()) all.push_back(g);
        if (run == 0) first = all;
        EXPECT_EQ(first, all) << cpu->name() << " " << c.name();
      }
    }
}

}  // namespace
}  // namespace pscale
