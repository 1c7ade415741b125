// The angles of rotary position embedding (Su et al. 2021, "RoFormer") and of its stretched forms, as plain
// numbers on the host in double precision: the model uploads a table once, the rotary operator reads it.
//
// Formulas are those of transformers/modeling_rope_utils.py, for head size D, base theta, i = 0 .. D/2-1:
//   default  f_i = theta^(-2i/D)
//   linear   f_i / factor
//   yarn     f_i where it turns more than beta_fast times in the original context, f_i / factor where it
//   turns
//            fewer than beta_slow times, a linear ramp over i between the two (Peng et al. 2023, "YaRN");
//            cos and sin are multiplied by attention_factor, where not given m(factor, mscale) /
//            m(factor, mscale_all_dim) or, without these, m(factor, 1), with m(s, a) = 0.1 a ln(s) + 1 (1 for
//            s <= 1)
//   llama3   f_i for short wavelengths, f_i / factor for long ones, a blend between (Llama 3.1)
// transformers computes in float32, so it agrees to about 1e-6 relative.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "models/layers/rope_scaling.h"

namespace pscale {

struct RotaryAngles {
  std::vector<double> inverse_frequencies;  ///< [D/2], radians per position
  double attention_factor = 1;              ///< multiplies cos and sin
};

/// cos and sin times attention_factor, both [positions, D/2], row-major. Position 0 is a document's first
/// token.
struct AngleTable {
  int64_t positions = 0;
  int64_t half = 0;  ///< D/2
  std::vector<double> cos, sin;
};

/// Broken rules of a scaling, each a sentence that names the key and the fix; empty where it is sound.
std::vector<std::string> rope_scaling_problems(const RopeScaling& scaling, double theta,
                                               int64_t max_position_embeddings);

/// Throws UserError with all rope_scaling_problems(). `head_dim` D must be even.
RotaryAngles rotary_angles(const RopeScaling& scaling, double theta, int64_t head_dim,
                           int64_t max_position_embeddings);

/// The unstretched angles; replica rotary takes them with theta = 10000 and the replica as position.
RotaryAngles rotary_angles(double theta, int64_t head_dim);

AngleTable angle_table(const RotaryAngles& angles, int64_t positions);

}  // namespace pscale
