#include "launch/plan/plan.h"

#include <iomanip>

#include "launch/train/trainer.h"
#include "parallel/checkpoint/state.h"
#include "parallel/comm/planned.h"

namespace pscale {

namespace {

/// model.layers.3.self_attn.q_proj.weight -> self_attn; model.embed_tokens.weight -> embed_tokens.
std::string module_of(const std::string& name) {
  std::vector<std::string> words;
  for (size_t begin = 0; begin <= name.size();) {
    const size_t end = std::min(name.find('.', begin), name.size());
    words.push_back(name.substr(begin, end - begin));
    begin = end + 1;
  }
  size_t at = words[0] == "model" ? 1 : 0;
  if (words[at] == "layers") at += 2;
  return words[std::min(at, words.size() - 1)];
}

std::map<std::pair<std::string, std::string>, int64_t> sent_bytes(const Mesh& mesh) {
  std::map<std::pair<std::string, std::string>, int64_t> sent;
  for (const auto& [key, count] : mesh.counters().snapshot()) sent[{key.axes.name(), std::string(key.purpose)}] += count.bytes;
  return sent;
}

std::string mib(int64_t bytes) {
  std::ostringstream out;
  out << std::fixed << std::setprecision(bytes < (int64_t{100} << 20) ? 2 : 0)
      << static_cast<double>(bytes) / (1 << 20);
  return out.str();
}

}  // namespace

Plan make_plan(const Config& config, const Layout& layout) {
  Plan plan;
  plan.layout = layout;
  plan.accumulate = accumulation_steps(config, layout.data);
  plan.flops_per_step = model_flops_per_token(config.model, config.train.sequence_length) *
                        static_cast<double>(config.train.global_batch * config.train.sequence_length);
  const Device device = Device::planning();
  const std::unique_ptr<Mesh> mesh = make_planned_mesh(layout, 0);
  Training training(device, *mesh, config.model, training_options(config));
  for (const Parameter& p : training.parameters().all()) {
    Plan::Group& group = plan.parameters[module_of(p.spec().name)];
    const int64_t count = elements_of(p.spec().shape);
    ++group.tensors;
    group.parameters += count;
    group.trained += p.trainable() ? count : 0;
  }

  const BatchPlan batch{.global_batch = config.train.global_batch, .micro_batch = config.train.micro_batch,
                        .length = config.train.sequence_length, .by_document = config.data.pack == "document"};
  const std::vector<int32_t> tokens(static_cast<size_t>(batch.micro_batch * (batch.length + 1)), 0);
  const std::vector<int32_t> documents(batch.by_document ? tokens.size() : 0, 0);
  const auto step = [&](int64_t micro_batches) {
    std::vector<Batch> batches;
    for (int64_t i = 0; i < micro_batches; ++i)
      batches.push_back(make_batch(device, tokens, documents, batch.micro_batch, batch.length, training.model().token_multiple()));
    mesh->counters().reset();
    training.step(batches, step_targets(batches, batch, mesh->group(Axis::data)), 0, true);
    return sent_bytes(*mesh);
  };
  // Every micro-batch after the first sends the same.
  auto sent = step(1);
  if (plan.accumulate > 1) {
    const auto two = step(2);
    for (auto& [key, bytes] : sent) {
      const auto more = two.find(key);
      bytes += (plan.accumulate - 1) * ((more == two.end() ? bytes : more->second) - bytes);
    }
  }
  for (const auto& [key, bytes] : sent)
    if (bytes > 0) plan.traffic.push_back({key.first, key.second, bytes});

  const CachingAllocator& memory = device.allocator();
  for (int kind = 0; kind < kMemoryKinds; ++kind) {
    const auto stats = memory.stats(static_cast<MemoryKind>(kind));
    plan.memory[static_cast<size_t>(kind)] = {stats.current, stats.peak};
  }
  for (const StateTensor& owned : owned_state(training.parameters(), training.optimizer()))
    plan.checkpoint += owned.tensor.bytes();
  plan.windows = mesh->communication_bytes();
  plan.peak = memory.stats().peak + plan.windows;
  return plan;
}

std::string to_text(const Plan& plan, const Config& config) {
  std::ostringstream out;
  const auto line = [&](const std::string& a, const auto& b, const auto& c, const auto& d) {
    out << "  " << std::left << std::setw(26) << a << std::right << std::setw(16) << b << std::setw(16) << c
        << std::setw(16) << d << "\n";
  };
  int64_t total = 0, trained = 0, tensors = 0;
  out << "layout " << to_string(plan.layout) << " (data x replica x tensor), " << plan.layout.world() << " ranks, "
      << plan.accumulate << " micro-batches of " << config.train.micro_batch << " sequences a step\n\n";
  line("parameters", "tensors", "elements", "trained");
  for (const auto& [name, group] : plan.parameters) {
    line(name, group.tensors, group.parameters, group.trained);
    tensors += group.tensors;
    total += group.parameters;
    trained += group.trained;
  }
  line("all", tensors, total, trained);
  out << "\n";
  line("memory of rank 0 (MiB)", "between steps", "peak", "");
  for (int kind = 0; kind < kMemoryKinds; ++kind) {
    const PlannedMemory& m = plan.memory[static_cast<size_t>(kind)];
    line(std::string(name_of(static_cast<MemoryKind>(kind))), mib(m.now), mib(m.peak), "");
  }
  line("communication windows", mib(plan.windows), mib(plan.windows), "");
  line("all together", "", mib(plan.peak), "");
  line("checkpoint copy, in a save", "", mib(plan.checkpoint), "");
  out << "\nmemory_peak_bytes " << plan.peak << "\n\n";
  line("sent by rank 0 (MiB/step)", "over", "MiB", "");
  for (const Plan::Traffic& t : plan.traffic) line(t.purpose, t.axes, mib(t.bytes), "");
  out << "\nmodel FLOPs a step: " << std::scientific << std::setprecision(3) << plan.flops_per_step << ", per rank "
      << plan.flops_per_step / static_cast<double>(plan.layout.world()) << "\n";
  return out.str();
}

}  // namespace pscale
