#include "launch/parity/parity.h"

#include <algorithm>
#include <cmath>

#include "core/tensor/accumulate.h"

namespace pscale {

namespace {

/// This data rank's micro-batches of tokens [sequences, length + 1].
std::vector<Batch> micro_batches(const GoldenCase& golden, std::span<const int32_t> tokens,
                                 std::span<const int32_t> documents, const Device& device, const Mesh& mesh,
                                 int64_t accumulate, int64_t multiple) {
  const int64_t width = golden.length + 1, ranks = mesh.layout().data;
  const int64_t each = golden.sequences / (ranks * accumulate);
  std::vector<Batch> batches;
  for (int64_t m = 0; m < accumulate; ++m) {
    const size_t first = static_cast<size_t>((m * ranks + mesh.coordinates().data) * each * width);
    const size_t count = static_cast<size_t>(each * width);
    batches.push_back(make_batch(device, tokens.subspan(first, count),
                                 documents.empty() ? documents : documents.subspan(first, count), each, golden.length,
                                 multiple));
  }
  return batches;
}

double largest(const std::vector<float>& values) {
  double most = 0;
  for (const float v : values) most = std::max(most, static_cast<double>(std::abs(v)));
  return most;
}

double largest_difference(const std::vector<float>& a, const std::vector<float>& b) {
  if (a.size() != b.size()) return INFINITY;
  double most = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    const double d = std::abs(static_cast<double>(a[i]) - b[i]);
    if (!(d <= most)) most = d;  // keeps a NaN
  }
  return most;
}

}  // namespace

ParityResult run_golden_case(const GoldenCase& golden, const Device& device, const Mesh& mesh,
                             const ParityOptions& options) {
  const int64_t ranks = mesh.layout().data;
  if (golden.sequences % (ranks * options.accumulate) != 0)
    throw UserError(cat("--data ", ranks, " with --accumulate ", options.accumulate, " does not divide the ",
                        golden.sequences, " sequences of this case"));
  TrainingOptions training_options;
  training_options.dtype = options.dtype;
  training_options.recompute = options.recompute;
  training_options.bucket_bytes = options.bucket_bytes;
  training_options.optimizer = golden.optimizer;
  const auto weights = [&](const ParameterSpec& spec) { return golden.weights.floats(spec.name); };
  const bool packed = golden.expected.contains("documents");
  ParityResult result;

  {  // logits and the gradients of the unfrozen model
    Training training(device, mesh, golden.model, training_options);
    assign_whole(training, weights);
    const std::vector<int32_t> tokens = golden.expected.ints("tokens");
    const std::vector<int32_t> documents = packed ? golden.expected.ints("documents") : std::vector<int32_t>{};
    const int64_t multiple = training.model().token_multiple();
    const Batch all = make_batch(device, tokens, documents, golden.sequences, golden.length, multiple);
    const Tensor logits = training.model().logits(all);
    const Tensor wide = Tensor::empty(device, logits.shape(), DType::float32);
    convert(wide, logits);
    result.logits.assign(wide.data<float>(), wide.data<float>() + wide.elements());
    result.logits_shape = {golden.sequences, golden.length, golden.model.vocab_size};
    double sum = training.accumulate_gradients(
        micro_batches(golden, tokens, documents, device, mesh, options.accumulate, multiple), all.counted, nullptr);
    mesh.group(AxisSet::all()).all_reduce(&sum, 1, DType::float64, Reduction::sum, Purpose{"loss"}).wait();
    result.loss = sum / static_cast<double>(all.counted);
    result.gradients = gather_whole(training, mesh, Which::gradient);
  }

  training_options.freeze_pretrained = golden.freeze_pretrained;
  Training training(device, mesh, golden.model, training_options);
  assign_whole(training, weights);
  const std::vector<int32_t> tokens = golden.expected.ints("batches");
  const std::vector<int32_t> documents = packed ? golden.expected.ints("batch_documents") : std::vector<int32_t>{};
  const size_t each = tokens.size() / static_cast<size_t>(golden.steps);
  for (int64_t step = 1; step <= golden.steps; ++step) {
    const size_t first = static_cast<size_t>(step - 1) * each;
    const auto step_tokens = std::span(tokens).subspan(first, each);
    const auto step_documents = packed ? std::span(documents).subspan(first, each) : std::span<const int32_t>{};
    const double rate = golden.optimizer.learning_rate *
                        std::min(1.0, static_cast<double>(step) / static_cast<double>(std::max<int64_t>(1, golden.warmup_steps)));
    const StepResult done = training.step(
        micro_batches(golden, step_tokens, step_documents, device, mesh, options.accumulate,
                      training.model().token_multiple()),
        count_targets(step_documents, golden.sequences, golden.length), rate);
    result.losses.push_back(done.loss);
    result.grad_norms.push_back(done.gradient_norm);
  }
  result.trained = gather_whole(training, mesh, Which::weight);
  return result;
}

std::vector<ParityError> compare(const GoldenCase& golden, const ParityResult& result, DType dtype) {
  // bfloat16 keeps 8 bits, so every activation is off by up to 1/256; over a few layers and training steps that adds up.
  const bool narrow = dtype == DType::bfloat16;
  const SafetensorsFile& expected = golden.expected;
  std::vector<ParityError> errors;

  const std::vector<float> golden_logits = expected.floats("logits");
  ParityError logits{"logits, absolute", 0, narrow ? 0.06 * largest(golden_logits) : 1e-4, ""};
  logits.error = largest_difference(result.logits, golden_logits);
  errors.push_back(logits);

  double squares = 0;
  std::map<std::string, std::vector<float>> golden_gradients;
  for (const auto& [name, entry] : expected.entries()) {
    if (!name.starts_with("grad.")) continue;
    const auto& values = golden_gradients[name.substr(5)] = expected.floats(name);
    for (const float v : values) squares += static_cast<double>(v) * v;
  }
  const double norm = std::sqrt(squares);
  ParityError gradients{"gradients, relative to each tensor's largest entry", 0, narrow ? 0.25 : 1e-4, ""};
  for (const auto& [name, values] : golden_gradients) {
    // In bfloat16 a true gradient of zero comes out as rounding noise, hence the higher floor.
    const double scale = std::max(largest(values), (narrow ? 1e-2 : 1e-6) * norm);
    const auto found = result.gradients.find(name);
    const double error = found == result.gradients.end() ? INFINITY : largest_difference(found->second, values) / scale;
    if (!(error <= gradients.error)) gradients = {gradients.what, error, gradients.allowed, name};
  }
  errors.push_back(gradients);

  ParityError losses{"losses, absolute", std::abs(result.loss - golden.loss), narrow ? 0.1 : 1e-4, "tokens"};
  ParityError norms{"gradient norms, relative", 0, narrow ? 0.15 : 1e-3, ""};
  if (result.losses.size() != golden.losses.size()) losses.error = norms.error = INFINITY;
  for (size_t i = 0; i < std::min(result.losses.size(), golden.losses.size()); ++i) {
    const double loss = std::abs(result.losses[i] - golden.losses[i]);
    const double relative = std::abs(result.grad_norms[i] / golden.grad_norms[i] - 1);
    if (!(loss <= losses.error)) losses = {losses.what, loss, losses.allowed, cat("step ", i + 1)};
    if (!(relative <= norms.error)) norms = {norms.what, relative, norms.allowed, cat("step ", i + 1)};
  }
  errors.push_back(losses);
  errors.push_back(norms);

  // Where the true gradient is zero Adam amplifies noise; those tensors are left out.
  ParityError weights{"trained weights, relative norm over all", 0, narrow ? 5e-2 : 1e-4, ""};
  double difference = 0, size = 0;
  for (const auto& [name, entry] : expected.entries()) {
    if (!name.starts_with("trained.")) continue;
    const std::string parameter = name.substr(8);
    if (largest(golden_gradients[parameter]) <= 1e-9) continue;
    const auto found = result.trained.find(parameter);
    const std::vector<float> values = expected.floats(name);
    if (found == result.trained.end() || found->second.size() != values.size()) {
      difference = INFINITY;
      weights.where = parameter;
      continue;
    }
    for (size_t i = 0; i < values.size(); ++i) {
      difference += std::pow(static_cast<double>(found->second[i]) - values[i], 2);
      size += std::pow(static_cast<double>(values[i]), 2);
    }
  }
  weights.error = std::sqrt(difference / size);
  errors.push_back(weights);
  return errors;
}

}  // namespace pscale
