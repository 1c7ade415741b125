// Reads an array of rotary settings as JSON from standard input, {head_dim, max_position_embeddings,
// positions, rope_parameters: {rope_type, rope_theta, ...}}, and prints for each {inverse_frequencies,
// attention_factor, cos, sin}, the tables flat.
#include <iostream>
#include <nlohmann/json.hpp>

#include "models/layers/rotary_angles.h"

namespace {

template <class T>
void read(const nlohmann::json& object, const char* key, std::optional<T>& value) {
  if (object.contains(key)) value = object[key].get<T>();
}

pscale::RopeScaling scaling_of(const nlohmann::json& p) {
  pscale::RopeScaling s;
  s.rope_type = p.at("rope_type").get<std::string>();
  read(p, "factor", s.factor);
  read(p, "original_max_position_embeddings", s.original_max_position_embeddings);
  s.low_freq_factor = p.value("low_freq_factor", s.low_freq_factor);
  s.high_freq_factor = p.value("high_freq_factor", s.high_freq_factor);
  s.beta_fast = p.value("beta_fast", s.beta_fast);
  s.beta_slow = p.value("beta_slow", s.beta_slow);
  read(p, "attention_factor", s.attention_factor);
  read(p, "mscale", s.mscale);
  read(p, "mscale_all_dim", s.mscale_all_dim);
  s.truncate = p.value("truncate", s.truncate);
  return s;
}

}  // namespace

int main() {
  nlohmann::json answer = nlohmann::json::array();
  for (const auto& request : nlohmann::json::parse(std::cin)) {
    const auto& p = request.at("rope_parameters");
    const pscale::RotaryAngles angles = pscale::rotary_angles(
        scaling_of(p), p.at("rope_theta").get<double>(), request.at("head_dim").get<int64_t>(),
        request.at("max_position_embeddings").get<int64_t>());
    const pscale::AngleTable table = pscale::angle_table(angles, request.at("positions").get<int64_t>());
    answer.push_back({{"inverse_frequencies", angles.inverse_frequencies},
                      {"attention_factor", angles.attention_factor},
                      {"cos", table.cos},
                      {"sin", table.sin}});
  }
  std::cout << answer.dump() << '\n';
}
