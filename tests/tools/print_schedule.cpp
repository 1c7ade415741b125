// Reads an array of schedules as JSON from standard input, {kind, warmup_steps, max_steps, steps, ...}, and
// prints for each the array of learning-rate factors of steps 1 .. `steps`.
#include <iostream>
#include <nlohmann/json.hpp>

#include "parallel/grads/schedule.h"

int main() {
  using namespace pscale;
  nlohmann::json answer = nlohmann::json::array();
  for (const auto& request : nlohmann::json::parse(std::cin)) {
    ScheduleConfig c;
    c.kind = schedule_kind(request.at("kind").get<std::string>());
    c.warmup_steps = request.at("warmup_steps").get<int64_t>();
    c.max_steps = request.at("max_steps").get<int64_t>();
    c.min_lr_ratio = request.value("min_lr_ratio", c.min_lr_ratio);
    c.num_cycles = request.value("num_cycles", c.num_cycles);
    if (request.contains("num_stable_steps")) c.num_stable_steps = request["num_stable_steps"].get<int64_t>();
    if (request.contains("num_decay_steps")) c.num_decay_steps = request["num_decay_steps"].get<int64_t>();
    if (request.contains("warmup_type")) c.warmup_type = ramp_kind(request["warmup_type"].get<std::string>());
    if (request.contains("decay_type")) c.decay_type = ramp_kind(request["decay_type"].get<std::string>());
    nlohmann::json factors = nlohmann::json::array();
    const auto steps = request.at("steps").get<int64_t>();
    for (int64_t step = 1; step <= steps; ++step) factors.push_back(learning_rate_factor(c, step));
    answer.push_back(factors);
  }
  std::cout << answer.dump() << '\n';
}
