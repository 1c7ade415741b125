#include "launch/parity/golden.h"

#include <fstream>
#include <nlohmann/json.hpp>

#include "core/base/errors.h"

namespace pscale {

GoldenCase read_golden_case(const std::string& folder) {
  const std::string path = folder + "/expected.json";
  std::ifstream in(path);
  const nlohmann::json json = nlohmann::json::parse(in, nullptr, false);
  if (!json.is_object()) throw UserError(cat(path, ": missing, or not a JSON object; is this a golden case?"));
  GoldenCase golden{.model = read_model_config(folder + "/config.json"),
                    .weights = SafetensorsFile(folder + "/model.safetensors"),
                    .expected = SafetensorsFile(folder + "/expected.safetensors")};
  try {
    golden.loss = json.at("loss");
    golden.losses = json.at("losses").get<std::vector<double>>();
    golden.grad_norms = json.at("grad_norms").get<std::vector<double>>();
    const nlohmann::json& schedule = json.at("schedule");
    golden.optimizer.learning_rate = schedule.at("learning_rate");
    golden.optimizer.beta1 = schedule.at("beta1");
    golden.optimizer.beta2 = schedule.at("beta2");
    golden.optimizer.eps = schedule.at("eps");
    golden.optimizer.weight_decay = schedule.at("weight_decay");
    golden.optimizer.grad_clip = schedule.at("grad_clip");
    golden.warmup_steps = schedule.at("warmup_steps");
    golden.steps = schedule.at("steps");
    golden.freeze_pretrained = schedule.at("freeze_pretrained");
  } catch (const nlohmann::json::exception& e) {
    throw UserError(cat(path, ": ", e.what()));
  }
  const auto& batches = golden.expected.at("batches").shape;
  if (batches.size() != 3 || batches[0] != golden.steps)
    throw UserError(cat(folder, "/expected.safetensors: batches is not [steps, sequences, length + 1]"));
  golden.sequences = batches[1];
  golden.length = batches[2] - 1;
  return golden;
}

}  // namespace pscale
