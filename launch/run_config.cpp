#include "launch/run_config.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "core/base/errors.h"
#include "launch/convert/open_model.h"

namespace pscale {

void RunConfig::describe(ConfigSection& section) {
  section.add("dir", dir, "Folder that the run writes to");
  section.add("seed", seed, "Seed of the new weights and of the order of the samples", at_least(0));
  section.add("device", device, "Where tensors are kept and computed", one_of({"cpu", "cuda"}));
  section.add("threads", threads, "Threads of each rank; 0: the machine's cores / the ranks on it",
              at_least(0));
  section.add("max_minutes", max_minutes,
              "Minutes until the run saves, stops and exits with 75, to be started again; 0: no limit", at_least(0));
  section.add("timeout_seconds", timeout_seconds,
              "Seconds without progress after which every rank tells where it is and the job is aborted; 0: never", at_least(0));
  section.add("check_interval", check_interval,
              "Steps between two comparisons of what ranks must hold alike, which is also done before every save; 0: never", at_least(0));
}

void TrainConfig::describe(ConfigSection& section) {
  section.add("max_steps", max_steps, "Optimizer steps of the whole run", at_least(1));
  section.add("global_batch", global_batch, "Sequences of a step, whatever the layout", at_least(1));
  section.add("micro_batch", micro_batch, "Sequences of a data rank at a time", at_least(1));
  section.add("sequence_length", sequence_length, "Tokens of a sequence", at_least(1));
  section.add("dtype", dtype,
              "Type of weights and activations; sums and bfloat16's master weights are float32",
              one_of({"float32", "bfloat16"}));
  section.add("recompute", recompute, "What backward computes again instead of keeping it",
              one_of({"none", "attention", "block"}));
  section.add("freeze_pretrained", freeze_pretrained,
              "Train only what ParScale adds: prefix, aggregation, cross-replica norm and attention");
  section.add("init_from", init_from, "Pretrained weights to start from: a Hugging Face folder, a hub id in the local cache, or a checkpoint; it supplies [model]. Empty: new weights");
  section.add("max_skipped_steps", max_skipped_steps,
              "Steps in a row that may be skipped for a loss or gradient that is not finite, or a loss spike", at_least(0));
  section.add("spike_z_score", spike_z_score,
              "Standard deviations above the mean of the last losses from which the update is skipped; none: no limit", above(0));
  section.add("spike_window", spike_window, "Losses of updates that spike_z_score is held against", at_least(2));
  section.add("bucket_mb", bucket_mb, "MiB of gradients that are reduced together", between(1, 65536));
}

void LogConfig::describe(ConfigSection& section) {
  section.add("interval", interval, "Steps between two lines of metrics", at_least(1));
  section.add("tensorboard", tensorboard, "Whether to write TensorBoard events");
  section.add("peak_flops", peak_flops,
              "FLOP/s of all ranks together that mfu is held against; none: measured", above(0));
}

std::vector<ConfigSection> Config::sections() {
  std::vector<ConfigSection> all;
  all.emplace_back("run");
  run.describe(all.back());
  all.emplace_back("model");
  model.describe_model(all.back());
  all.emplace_back("parscale");
  model.describe_parscale(all.back());
  all.emplace_back("parallel");
  parallel.describe(all.back());
  all.emplace_back("train");
  train.describe(all.back());
  all.emplace_back("optimizer");
  optimizer.describe(all.back());
  all.emplace_back("data");
  data.describe(all.back());
  all.emplace_back("checkpoint");
  checkpoint.describe(all.back());
  all.emplace_back("log");
  log.describe(all.back());
  return all;
}

namespace {

/// Keys of the original project and of transformers' TrainingArguments, which it took them from.
ConfigHints hints() {
  ConfigHints hints;
  const auto renamed = [&](const char* key, const char* here) {
    hints.renamed[cat("training.", key)] = here;
  };
  renamed("base_model", "train.init_from");
  renamed("dataset", "data.train");
  renamed("output_dir", "run.dir");
  renamed("seed", "run.seed");
  renamed("max_length", "train.sequence_length");
  renamed("max_steps", "train.max_steps");
  renamed("per_device_train_batch_size", "train.micro_batch");
  renamed("train_batch_size", "train.global_batch");
  renamed("bf16", "train.dtype");
  renamed("gradient_checkpointing", "train.recompute");
  renamed("freeze_pretrained", "train.freeze_pretrained");
  renamed("learning_rate", "optimizer.learning_rate");
  renamed("lr_scheduler_type", "optimizer.schedule");
  renamed("warmup_steps", "optimizer.warmup_steps");
  renamed("weight_decay", "optimizer.weight_decay");
  renamed("adam_beta1", "optimizer.beta1");
  renamed("adam_beta2", "optimizer.beta2");
  renamed("adam_epsilon", "optimizer.eps");
  renamed("max_grad_norm", "optimizer.grad_clip");
  renamed("logging_steps", "log.interval");
  renamed("eval_steps", "data.validation_interval");
  // What people type from habit.
  hints.renamed["optimizer.lr"] = "optimizer.learning_rate";
  hints.renamed["train.batch_size"] = "train.global_batch";
  hints.renamed["parallel.tp"] = "parallel.tensor";
  hints.renamed["parallel.dp"] = "parallel.data";
  renamed("save_steps", "checkpoint.save_interval");
  renamed("save_total_limit", "checkpoint.keep_last");
  for (const char* section : {"training", "train"})
    hints.notes[cat(section, ".gradient_accumulation_steps")] =
        "accumulation is train.global_batch / (train.micro_batch * data ranks); set train.global_batch";
  return hints;
}

void check(const Config& c, std::vector<std::string>& problems) {
  c.model.check(c.origins, problems);
  c.optimizer.check(c.train.max_steps, c.origins, problems);
  check_start(c, problems);
#ifndef PSCALE_CUDA
  if (c.run.device == "cuda")
    problems.push_back(
        cat(c.origins.name("run.device"), " = \"cuda\": this build has no CUDA; set run.device = \"cpu\""));
#endif
  if (c.run.dir.empty()) problems.push_back(cat(c.origins.name("run.dir"), " is empty; name a folder"));
  if (c.parallel.data == 0) return;
  try {
    accumulation_steps(c, c.parallel.data);
  } catch (const UserError& uneven) {
    problems.insert(problems.end(), uneven.problems().begin(), uneven.problems().end());
  }
}

std::vector<std::string> warnings_of(const Config& c) {
  std::vector<std::string> warnings = c.model.warnings();
  if (c.train.sequence_length > c.model.max_position_embeddings)
    warnings.push_back(
        cat("train.sequence_length = ", c.train.sequence_length,
            " is longer than model.max_position_embeddings = ", c.model.max_position_embeddings));
  if (c.optimizer.warmup_steps >= c.train.max_steps)
    warnings.push_back(cat("optimizer.warmup_steps = ", c.optimizer.warmup_steps, " and train.max_steps = ",
                           c.train.max_steps, ": the warm-up fills the whole run"));
  return warnings;
}

}  // namespace

void check_start(const Config& c, std::vector<std::string>& problems) {
  const TrainConfig& train = c.train;
  if (!train.freeze_pretrained) return;
  if (train.init_from.empty())
    problems.push_back(
        cat(c.origins.name("train.freeze_pretrained"),
            " = true needs pretrained weights from train.init_from; without them the frozen part would "
            "stay random"));
  if (c.model.parscale_n == 1 && c.model.parscale_n_tokens == 0)
    problems.push_back(
        cat(c.origins.name("train.freeze_pretrained"),
            " = true with parscale.parscale_n = 1 and parscale.parscale_n_tokens = 0 leaves nothing to "
            "train; turn it off or add replicas or a prefix"));
}

namespace {

/// The model that train.init_from names, where it is on this machine; for a plan it need not be.
std::optional<ModelConfig> starting_model(const ConfigTable& values, std::vector<std::string>& problems) {
  const ConfigValue* train = values.find("train");
  const ConfigValue* from = train && train->table() ? train->table()->find("init_from") : nullptr;
  const auto* path = from ? std::get_if<std::string>(&from->data) : nullptr;
  if (!path || path->empty()) return std::nullopt;
  try {
    return model_config_of(*path);
  } catch (const UserError& e) {
    const std::string place = from->location.text();
    for (const std::string& problem : e.problems())
      problems.push_back(cat(place, place.empty() ? "" : ": ", "train.init_from: ", problem));
    return std::nullopt;
  }
}

std::string model_toml(ModelConfig model) {
  std::vector<ConfigSection> sections;
  sections.emplace_back("model");
  model.describe_model(sections.back());
  return config_toml(sections);
}

/// [model] of a model, and [parscale] where it has replicas or a prefix; a plain one has chosen nothing of that.
ConfigTable as_source(ModelConfig model) {
  ConfigTable source = parse_toml(model_toml(model), "train.init_from");
  if (model.parscale_n == 1 && model.parscale_n_tokens == 0) return source;
  std::vector<ConfigSection> sections;
  sections.emplace_back("parscale");
  model.describe_parscale(sections.back());
  merge(source, parse_toml(config_toml(sections), "train.init_from"));
  return source;
}

/// Keys of [model] that differ from the model it starts from. In [parscale] they may: what they add is new.
void check_agrees(const Config& config, const ModelConfig& start, std::vector<std::string>& problems) {
  const auto differ = [&](auto&& self, const ConfigTable& now, const ConfigTable& base, const std::string& prefix) -> void {
    for (const auto& [key, value] : now.entries()) {
      const ConfigValue* other = base.find(key);
      const std::string name = prefix + key;
      if (value.table() && other && other->table()) {
        self(self, *value.table(), *other->table(), name + ".");
      } else if (name != "model.model_type" && (!other || other->text() != value.text())) {
        problems.push_back(cat(config.origins.name(name), " = ", value.text(), ", but the model of train.init_from = \"",
                               config.train.init_from, "\" has ", other ? other->text() : "none", "; take the key out"));
      }
    }
  };
  const ConfigTable now = parse_toml(model_toml(config.model), ""), base = parse_toml(model_toml(start), "");
  differ(differ, now, base, "");
}

}  // namespace

namespace {

Config read(ConfigTable values, const std::vector<std::string>& overrides, bool trains, std::vector<std::string> problems) {
  Config config;
  // Where a file is missing or malformed, nothing can be said about the keys it may have had.
  const bool complete = problems.empty();
  for (const std::string& argument : overrides) {
    try {
      merge(values, parse_override(argument));
    } catch (const UserError& malformed) {
      problems.insert(problems.end(), malformed.problems().begin(), malformed.problems().end());
    }
  }
  // The model of train.init_from is a source below all others.
  const std::optional<ModelConfig> start = starting_model(values, problems);
  if (start) {
    ConfigTable sources = as_source(*start);
    merge(sources, values);
    values = std::move(sources);
  }
  read_sections(config.sections(), values, hints(), config.origins, problems, complete);
  if (!complete) throw UserError(std::move(problems));
  if (!trains) config.train.global_batch = 0;  // a multiple of whatever the layout makes it
  config.model.complete(config.origins);
  if (start) check_agrees(config, *start, problems);
  std::vector<std::string> broken;
  check(config, broken);
  for (std::string& problem : broken)
    if (!config.origins.doubts(problem)) problems.push_back(std::move(problem));
  if (!problems.empty()) throw UserError(std::move(problems));
  config.warnings = warnings_of(config);
  return config;
}

}  // namespace

Config load_config(const std::string& path, const std::vector<std::string>& overrides) {
  std::vector<std::string> problems;
  ConfigTable values = read_config_file(path, problems);
  return read(std::move(values), overrides, true, std::move(problems));
}

Config load_config(ConfigTable values) { return read(std::move(values), {}, true, {}); }

Config evaluation_config(const std::string& model, std::vector<std::string> overrides) {
  overrides.push_back(cat("train.init_from=", nlohmann::json(model).dump()));
  return read({}, overrides, false, {});
}

std::string to_toml(const Config& config) {
  Config copy = config;
  return config_toml(copy.sections());
}

int64_t accumulation_steps(const Config& config, int64_t data_ranks) {
  const int64_t global = config.train.global_batch, micro = config.train.micro_batch;
  PSCALE_CHECK(data_ranks >= 1, data_ranks, " data ranks");
  const int64_t together = micro * data_ranks;
  if (global % together == 0) return global / together;

  std::vector<int64_t> globals, micros;
  if (global > together) globals.push_back(global / together * together);
  globals.push_back((global / together + 1) * together);
  if (global % data_ranks == 0)
    for (int64_t m = 1; m <= global / data_ranks; ++m)
      if (global / data_ranks % m == 0) micros.push_back(m);
  throw UserError(cat(config.origins.name("train.global_batch"), " = ", global,
                      " must be a multiple of train.micro_batch * data ranks = ", micro, " * ", data_ranks,
                      "; nearest train.global_batch: ", join(globals, " or "),
                      micros.empty() ? cat("; no train.micro_batch fits, because ", data_ranks,
                                           " data ranks do not divide ", global)
                                     : cat("; train.micro_batch that fit: ", join(micros, ", "))));
}

}  // namespace pscale
