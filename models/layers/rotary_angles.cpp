#include "models/layers/rotary_angles.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "core/base/errors.h"

namespace pscale {
namespace {

constexpr double pi = std::numbers::pi;

int64_t original_length(const RopeScaling& s, int64_t max_position_embeddings) {
  return s.original_max_position_embeddings.value_or(max_position_embeddings);
}

double yarn_factor(const RopeScaling& s, int64_t max_position_embeddings) {
  return s.factor.value_or(static_cast<double>(max_position_embeddings) /
                           static_cast<double>(original_length(s, max_position_embeddings)));
}

double yarn_magnitude(double scale, double mscale) {
  return scale <= 1 ? 1 : 0.1 * mscale * std::log(scale) + 1;
}

double yarn_attention_factor(const RopeScaling& s, double factor) {
  if (s.attention_factor) return *s.attention_factor;
  // transformers takes a zero as not given.
  if (s.mscale.value_or(0) != 0 && s.mscale_all_dim.value_or(0) != 0)
    return yarn_magnitude(factor, *s.mscale) / yarn_magnitude(factor, *s.mscale_all_dim);
  return yarn_magnitude(factor, 1);
}

void stretch_yarn(const RopeScaling& s, double theta, int64_t head_dim, int64_t max_positions,
                  RotaryAngles& angles) {
  const double factor = yarn_factor(s, max_positions);
  const double length = static_cast<double>(original_length(s, max_positions));
  const double dim = static_cast<double>(head_dim);
  const auto dim_of_rotations = [&](double rotations) {
    return dim * std::log(length / (rotations * 2 * pi)) / (2 * std::log(theta));
  };
  double low = dim_of_rotations(s.beta_fast), high = dim_of_rotations(s.beta_slow);
  if (s.truncate) low = std::floor(low), high = std::ceil(high);
  low = std::max(low, 0.0), high = std::min(high, dim - 1);
  if (low == high) high += 0.001;
  for (size_t i = 0; i < angles.inverse_frequencies.size(); ++i) {
    double& f = angles.inverse_frequencies[i];
    const double ramp = std::clamp((static_cast<double>(i) - low) / (high - low), 0.0, 1.0);
    f = f / factor * ramp + f * (1 - ramp);
  }
  angles.attention_factor = yarn_attention_factor(s, factor);
}

void stretch_llama3(const RopeScaling& s, int64_t max_positions, RotaryAngles& angles) {
  const double length = static_cast<double>(original_length(s, max_positions));
  for (double& f : angles.inverse_frequencies) {
    const double wavelength = 2 * pi / f;
    if (wavelength < length / s.high_freq_factor) continue;
    if (wavelength > length / s.low_freq_factor) {
      f /= *s.factor;
      continue;
    }
    const double keep = (length / wavelength - s.low_freq_factor) / (s.high_freq_factor - s.low_freq_factor);
    f = (1 - keep) * f / *s.factor + keep * f;
  }
}

}  // namespace

std::vector<std::string> rope_scaling_problems(const RopeScaling& s, double theta, int64_t max_positions) {
  std::vector<std::string> problems;
  const auto positive = [](double x) { return std::isfinite(x) && x > 0; };
  if (!positive(theta)) problems.push_back(cat("model.rope_theta = ", theta, " must be above 0"));
  const bool yarn = s.rope_type == "yarn", llama3 = s.rope_type == "llama3", linear = s.rope_type == "linear";
  if (s.rope_type == "default") return problems;
  if (!yarn && !llama3 && !linear) {
    problems.push_back(cat("model.rope_scaling.rope_type = \"", s.rope_type,
                           "\" is not supported; use default, linear, yarn or llama3"));
    return problems;
  }

  const auto need = [&](bool good, const char* key, const auto& value, const char* rule) {
    if (!good) problems.push_back(cat("model.rope_scaling.", key, " = ", value, " ", rule));
  };
  if (s.factor) need(positive(*s.factor), "factor", *s.factor, "must be above 0");
  if (!s.factor && !yarn)
    problems.push_back(cat("model.rope_scaling.factor is missing; rope_type \"", s.rope_type, "\" needs it"));
  if ((yarn || llama3) && original_length(s, max_positions) < 1)
    need(false, "original_max_position_embeddings", original_length(s, max_positions), "must be at least 1");
  if (llama3) {
    need(positive(s.low_freq_factor), "low_freq_factor", s.low_freq_factor, "must be above 0");
    need(s.high_freq_factor > s.low_freq_factor, "high_freq_factor", s.high_freq_factor,
         "must be above low_freq_factor");
  }
  if (yarn) {
    if (!s.factor && max_positions < 1)
      problems.push_back(
          "model.rope_scaling.factor is missing; yarn needs it or model.max_position_embeddings");
    if (theta == 1) problems.push_back("model.rope_theta = 1 does not work with yarn; use a larger base");
    need(positive(s.beta_slow), "beta_slow", s.beta_slow, "must be above 0");
    need(s.beta_fast >= s.beta_slow, "beta_fast", s.beta_fast, "must not be below beta_slow");
    if (s.attention_factor)
      need(positive(*s.attention_factor), "attention_factor", *s.attention_factor, "must be above 0");
  }
  return problems;
}

RotaryAngles rotary_angles(double theta, int64_t head_dim) {
  PSCALE_CHECK(head_dim > 0 && head_dim % 2 == 0, "rotary needs an even head size, not ", head_dim);
  RotaryAngles angles;
  for (int64_t i = 0; i < head_dim; i += 2)
    angles.inverse_frequencies.push_back(
        std::pow(theta, -static_cast<double>(i) / static_cast<double>(head_dim)));
  return angles;
}

RotaryAngles rotary_angles(const RopeScaling& s, double theta, int64_t head_dim,
                           int64_t max_position_embeddings) {
  if (auto problems = rope_scaling_problems(s, theta, max_position_embeddings); !problems.empty())
    throw UserError(std::move(problems));
  RotaryAngles angles = rotary_angles(theta, head_dim);
  if (s.rope_type == "linear")
    for (double& f : angles.inverse_frequencies) f /= *s.factor;
  if (s.rope_type == "yarn") stretch_yarn(s, theta, head_dim, max_position_embeddings, angles);
  if (s.rope_type == "llama3") stretch_llama3(s, max_position_embeddings, angles);
  return angles;
}

AngleTable angle_table(const RotaryAngles& angles, int64_t positions) {
  PSCALE_CHECK(positions >= 0, positions, " positions");
  AngleTable table{positions, static_cast<int64_t>(angles.inverse_frequencies.size()), {}, {}};
  table.cos.reserve(static_cast<size_t>(positions * table.half));
  table.sin.reserve(static_cast<size_t>(positions * table.half));
  for (int64_t position = 0; position < positions; ++position) {
    for (const double f : angles.inverse_frequencies) {
      const double angle = static_cast<double>(position) * f;
      table.cos.push_back(std::cos(angle) * angles.attention_factor);
      table.sin.push_back(std::sin(angle) * angles.attention_factor);
    }
  }
  return table;
}

}  // namespace pscale
