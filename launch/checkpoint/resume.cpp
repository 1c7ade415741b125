#include "launch/checkpoint/resume.h"

#include <algorithm>

#include "core/base/config_text.h"
#include "parallel/comm/texts.h"

namespace pscale {

namespace fs = std::filesystem;

namespace {

constexpr Purpose kResume{"resume"};

/// Keys that may change from one start of a run to the next; a section alone stands for all its keys.
constexpr const char* kFree[] = {
    "run.dir", "run.device", "run.threads", "run.max_minutes", "run.timeout_seconds", "run.check_interval",
    "parallel", "log", "checkpoint",
    "train.max_steps", "train.micro_batch", "train.recompute", "train.init_from",
    "train.max_skipped_steps", "train.spike_z_score", "train.spike_window", "train.bucket_mb",
    "data.train", "data.validation", "data.validation_interval", "data.validation_samples"};

bool may_change(const std::string& section, const std::string& key) {
  return std::any_of(std::begin(kFree), std::end(kFree),
                     [&](const std::string& name) { return name == section || name == section + "." + key; });
}

/// What blended sources have in common wherever their files lie.
std::string mixture_of(const WeightedPaths& sources) {
  if (sources.size() <= 1) return "one source";
  if (!sources[0].weight) return cat(sources.size(), " sources mixed by size");
  std::vector<std::string> weights;
  for (const WeightedPath& source : sources) weights.push_back(toml_text(*source.weight));
  return cat(sources.size(), " sources with weights ", join(weights, ", "));
}

/// What of a run does not fit a checkpoint: a mistake of the user, not damage.
void check_same_run(const Manifest& manifest, const fs::path& from, const Config& config,
                    const std::map<std::string, std::string>& data) {
  std::vector<std::string> problems;
  for (const std::string& difference : differences(manifest.config, config))
    problems.push_back(cat(from.string(), " was saved by a run with other settings: ", difference));
  for (const auto& [key, fingerprint] : data) {
    const auto it = manifest.data.find(key);
    if (it != manifest.data.end() && it->second != fingerprint)
      problems.push_back(cat(from.string(), ": the token files of ", key,
                             " are not those it was trained on; name the same ones"));
  }
  if (problems.empty()) return;
  problems.push_back("set the values back, choose another run.dir, or start afresh with --resume none");
  throw UserError(std::move(problems));
}

}  // namespace

std::map<std::string, std::string> lasting_values(const std::string& toml, const std::string& source) {
  std::map<std::string, std::string> values;
  const ConfigTable tables = parse_toml(toml, source);
  for (const auto& [section, value] : tables.entries())
    if (const ConfigTable* table = value.table())
      for (const auto& [key, v] : table->entries())
        if (!may_change(section, key)) values[cat(section, ".", key)] = v.text();
  // Paths may change, the mixture may not; and what is held out decides which documents are trained on.
  if (const ConfigValue* data = tables.find("data"); data && data->table()) {
    DataConfig config;
    ConfigSection section("data");
    config.describe(section);
    ConfigOrigins origins;
    std::vector<std::string> ignored;
    read_section(section, *data->table(), UnknownKeys::ignore, {}, origins, ignored);
    values["data.train"] = mixture_of(config.train);
    values["data.validation_fraction"] = toml_text(config.held_out());
  }
  // As a file may leave it open and the model of train.init_from says it.
  if (const auto size = values.find("model.head_dim"); size == values.end() || size->second == "\"none\"")
    values["model.head_dim"] = cat(std::stoll(values.at("model.hidden_size")) / std::stoll(values.at("model.num_attention_heads")));
  return values;
}

ResumeRequest resume_request(const std::string& text) {
  if (text == "auto") return {};
  if (text == "none") return {ResumeRequest::Kind::none, {}};
  return {ResumeRequest::Kind::path, text};
}

std::vector<std::string> differences(const std::string& saved_toml, const Config& config) {
  const auto saved = lasting_values(saved_toml, "checkpoint"), now = lasting_values(to_toml(config), "configuration");
  std::vector<std::string> found;
  for (const auto& [key, value] : now) {
    const auto it = saved.find(key);
    const std::string before = it == saved.end() ? "not set" : it->second;
    if (before != value) found.push_back(cat(config.origins.name(key), " is ", value, ", was ", before));
  }
  for (const auto& [key, value] : saved)
    if (!now.contains(key)) found.push_back(cat(key, " is not set, was ", value));
  return found;
}

std::optional<Resumed> resume(const ResumeRequest& request, const CheckpointFolder& folder, const Config& config,
                              const std::map<std::string, std::string>& data, ParameterSet& parameters,
                              ShardedAdamW& optimizer, const StopRequest& stop) {
  if (request.kind == ResumeRequest::Kind::none) return std::nullopt;
  Communicator& world = parameters.mesh().group(AxisSet::all());
  std::vector<fs::path> candidates;
  if (request.kind == ResumeRequest::Kind::path) {
    const auto found = find_checkpoint(request.path);
    if (!found) throw UserError(cat("--resume ", request.path.string(), ": there is no checkpoint"));
    candidates = {*found};
  } else {
    // Rank 0's list for all: others may see a network folder later.
    std::vector<std::string> names;
    for (const auto& entry : folder.list()) names.push_back(entry.path.filename().string());
    const std::string list = gather_texts(world, join(names, "/"), kResume)[0];
    for (size_t begin = 0; begin < list.size();) {
      const size_t end = std::min(list.find('/', begin), list.size());
      candidates.push_back(folder.path() / list.substr(begin, end - begin));
      begin = end + 1;
    }
  }
  if (candidates.empty()) return std::nullopt;

  Resumed resumed;
  std::vector<std::string> unsound;
  for (const fs::path& from : candidates) {
    std::vector<std::string> damage, mistakes;
    try {
      const Checkpoint checkpoint(from);
      const Manifest& m = checkpoint.manifest();
      try {
        check_same_run(m, from, config, data);
      } catch (const UserError& e) {
        mistakes = e.problems();
      }
      if (mistakes.empty()) checkpoint.load(held_state(parameters, optimizer), [&] { stop.throw_if_signalled(); });
      optimizer.set_updates(m.updates);
      resumed.position = {m.step, m.next_sample, m.skipped_steps, m.skipped_in_a_row, m.validation_pending, m.recent_losses};
    } catch (const UserError& e) {
      damage = e.problems();
    } catch (const Stopped&) {
      // The others may be through: all agree when they are.
    }
    mistakes = gather_problems(world, mistakes, kResume);
    if (!mistakes.empty()) throw UserError(std::move(mistakes));
    damage = gather_problems(world, damage, kResume);
    if (damage.empty()) {
      resumed.from = from;
      resumed.notes = std::move(unsound);
      return resumed;
    }
    if (request.kind == ResumeRequest::Kind::path) throw UserError(std::move(damage));
    for (const std::string& problem : damage)
      unsound.push_back(cat(from.filename().string(), " is not sound and was passed over: ", problem));
  }
  unsound.push_back("no sound checkpoint is left; --resume none starts afresh (the old files are set aside)");
  throw UserError(std::move(unsound));
}

}  // namespace pscale
