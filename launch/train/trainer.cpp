#include "launch/train/trainer.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <filesystem>

#include <nlohmann/json.hpp>

#include "core/base/durable_file.h"
#include "core/base/hash.h"
#include "core/ops/matmul.h"
#include "launch/convert/open_model.h"
#include "launch/metrics/peak_flops.h"
#include "launch/train/loss_window.h"
#include "launch/train/run_folder.h"
#include "models/hf/converted_source.h"
#include "parallel/checkpoint/hdf5_file.h"
#include "parallel/comm/mpi_world.h"
#include "parallel/comm/texts.h"
#include "parallel/grads/drift.h"

namespace pscale {

namespace {

constexpr Purpose kReport{"report"};
constexpr int64_t kPeakSize = 1024;  // of the square products the peak is measured with

double seconds_now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

/// What every checkpoint of the run says of it.
Manifest about(const Config& config, const RunData& data) {
  Manifest manifest;
  manifest.config = to_toml(config);
  manifest.model = to_json(config.model).dump();
  manifest.tokenizer = data.tokenizer();
  manifest.data = data.fingerprints();
  manifest.versions = {{"pscale", PSCALE_VERSION}, {"hdf5", hdf5_version()}, {"mpi", mpi_version()}};
  return manifest;
}

/// FLOP/s of this rank's share of the machine, measured on all ranks at once.
std::optional<double> measured_peak(const Device& device, DType dtype) {
  const DType type = dtype == DType::float64 ? DType::float64 : DType::float32;
  const Tensor a = Tensor::zeros(device, {kPeakSize, kPeakSize}, type), b = Tensor::zeros(device, {kPeakSize, kPeakSize}, type);
  const Tensor c = Tensor::zeros(device, {kPeakSize, kPeakSize}, type);
  return measure_peak_flops(
      [&] {
        matmul(a, Transpose::no, b, Transpose::no, c, false);
        device.synchronize();
      },
      2.0 * kPeakSize * kPeakSize * kPeakSize);
}

}  // namespace

/// Time and waits since the last logged step.
struct Trainer::Clock {
  double last = seconds_now();
  double waited;          // seconds the trainer waited for collectives, at `last`
  double data_wait = 0;   // seconds spent on making batches since `last`
  int64_t last_step = 0;
  StepTimes times;
  explicit Clock(const Mesh& mesh) : waited(mesh.counters().seconds_waited()), times(mesh) {}
};

TrainingOptions training_options(const Config& config) {
  TrainingOptions options;
  options.dtype = config.train.dtype == "bfloat16" ? DType::bfloat16 : DType::float32;
  options.recompute = config.train.recompute == "block"       ? Recompute::block
                      : config.train.recompute == "attention" ? Recompute::attention
                                                              : Recompute::none;
  options.freeze_pretrained = config.train.freeze_pretrained;
  options.bucket_bytes = config.train.bucket_mb << 20;
  options.optimizer = config.optimizer;
  return options;
}

Trainer::Trainer(const Config& config, const Device& device, const Mesh& mesh, const StopRequest& stop,
                 LastCollective& last, const ResumeRequest& request)
    : config_(&config),
      device_(&device),
      mesh_(&mesh),
      stop_(&stop),
      last_(&last),
      plan_{.global_batch = config.train.global_batch,
            .micro_batch = config.train.micro_batch,
            .data_ranks = mesh.layout().data,
            .data_rank = mesh.coordinates().data,
            .length = config.train.sequence_length,
            .by_document = config.data.pack == "document"},
      data_(config),
      training_(device, mesh, config.model, training_options(config)) {
  stop_if_asked();
  data_.check_same_on(mesh.group(AxisSet::all()));
  plan_.multiple = training_.model().token_multiple();
  const CheckpointFolder checkpoints(std::filesystem::path(config.run.dir) / "checkpoints");
  const auto resumed = resume(request, checkpoints, config, data_.fingerprints(), training_.parameters(), training_.optimizer(),
                              stop);
  if (resumed) {
    position_ = resumed->position;
  } else {
    start();
  }
  stop_if_asked();

  Communicator& world = mesh.group(AxisSet::all());
  if (config.log.peak_flops) {
    peak_flops_ = config.log.peak_flops;
  } else {
    double peak = measured_peak(device, training_.parameters().dtype()).value_or(0);
    world.all_reduce(&peak, 1, DType::float64, Reduction::sum, kReport).wait();
    if (peak > 0) peak_flops_ = peak;
  }
  device.allocator().reset_peaks();

  CarriedFiles carried;  // rank 0 writes them
  std::vector<std::string> failure;
  if (world.rank() == 0) {
    try {
      open_log(resumed);
      carried = tokenizer_files();
    } catch (const UserError& e) {
      failure = e.problems();
    } catch (const std::exception& e) {
      failure = {e.what()};
    }
  }
  failure = gather_problems(world, failure, kReport);
  if (!failure.empty()) throw UserError(std::move(failure));
  checkpointer_.emplace(config.checkpoint, checkpoints, mesh, training_.parameters(), training_.optimizer(), stop,
                        about(config, data_), std::move(carried), [this](const RunPosition& position) { check_drift(position); },
                        [this](const std::string& text) { say(text); });
}

CarriedFiles Trainer::tokenizer_files() {
  CarriedFiles files = data_.tokenizer_files();
  if (files.empty() && !data_.tokenizer().empty() && data_.tokenizer() != "bytes")
    say(cat("warning: the files of the tokenizer ", data_.tokenizer(),
            " are not beside the training data: checkpoints of this run will not hold them"));
  return files;
}

/// The signal that some rank got, the same on all. Collective.
StopReason Trainer::agreed_signal() {
  auto reason = static_cast<int32_t>(stop_->signalled());
  mesh_->group(AxisSet::all()).all_reduce(&reason, 1, DType::int32, Reduction::max, kReport).wait();
  return static_cast<StopReason>(reason);
}

/// Collective.
void Trainer::stop_if_asked() {
  if (const StopReason reason = agreed_signal(); reason != StopReason::none) throw Stopped(reason);
}

void Trainer::start() {
  const auto seed = static_cast<uint64_t>(config_->run.seed);
  const std::string& from = config_->train.init_from;
  if (from.empty()) return training_.initialize(seed);
  // One rank checks the hashes of a checkpoint, and the tokenizers, for all.
  std::vector<std::string> problems;
  try {
    const OpenModel base = open_model(from, mesh_->rank() == 0);
    if (mesh_->rank() == 0) data_.check_tokenizer(base.tokenizer);
    ConvertedSource source(*base.tensors, config_->model, seed, DType::float32);
    std::vector<StateTensor> weights = held_state(training_.parameters(), training_.optimizer());
    std::erase_if(weights, [](const StateTensor& s) { return s.kind != StateKind::weight; });
    load_weights(source, weights, [&] { stop_->throw_if_signalled(); });
  } catch (const UserError& e) {
    problems = e.problems();
    for (std::string& problem : problems) problem = cat(config_->origins.name("train.init_from"), ": ", problem);
  } catch (const Stopped&) {
    // The others may be through: all agree when they are.
  }
  problems = gather_problems(mesh_->group(AxisSet::all()), problems, kReport);
  if (!problems.empty()) throw UserError(std::move(problems));
}

void Trainer::open_log(const std::optional<Resumed>& resumed) {
  const std::filesystem::path folder = config_->run.dir;
  const CheckpointFolder checkpoints(folder / "checkpoints");
  std::vector<std::string> notes = resumed ? resumed->notes : std::vector<std::string>{};
  for (const std::string& name : checkpoints.remove_leftovers())
    notes.push_back(cat("removed ", name, ", a checkpoint that was not finished"));
  const bool goes_on = resumed && checkpoints.contains(resumed->from);
  if (goes_on) {
    for (const std::filesystem::path& aside : checkpoints.set_aside_after(position_.step))
      notes.push_back(cat("a later checkpoint is now in ", aside.string()));
  } else if (const auto aside = open_run_folder(folder)) {
    notes.push_back(cat("this folder held an earlier run: its files are now in ", aside->string()));
  }
  log_.emplace(RunLogOptions{.folder = folder,
                             .tensorboard = config_->log.tensorboard,
                             .max_steps = config_->train.max_steps,
                             .done_steps = goes_on ? std::optional(position_.step) : std::nullopt,
                             .console = find_console()});
  write_file_durably(folder / "config.toml", to_toml(*config_));
  for (const std::string& note : notes) say(note);
  if (resumed) say(cat("goes on from ", resumed->from.string(), " after step ", position_.step));
}

void Trainer::say(const std::string& text) {
  if (log_) log_->message(text);
}

/// What the row says of all ranks. Collective.
void Trainer::gather(MetricsRow& row, const StepTimes& times, double steps) {
  Communicator& world = mesh_->group(AxisSet::all());
  std::vector<double> own = {static_cast<double>(device_->allocator().stats().peak + mesh_->communication_bytes())};
  own.insert(own.end(), times.seconds().begin(), times.seconds().end());
  const auto width = static_cast<int64_t>(own.size());
  std::vector<double> all(own.size() * static_cast<size_t>(world.size()));
  world.all_gather(own.data(), all.data(), width, DType::float64, kReport).wait();
  double peak = 0;
  std::vector<double> ranks;
  for (auto rank = all.begin(); rank != all.end(); rank += width) {
    peak = std::max(peak, *rank);
    ranks.insert(ranks.end(), rank + 1, rank + width);
  }
  row.memory_peak_bytes = static_cast<int64_t>(peak);
  if (world.size() == 1) return;
  const Stragglers found = find_stragglers(mesh_->layout(), ranks, steps);
  row.rank_seconds_median = found.median;
  row.rank_seconds_slowest = found.slowest;
  row.slowest_rank = found.slowest_rank;
  row.waited_axes = found.waited_axes;
  row.waited_axes_seconds = found.waited_seconds;
}

void Trainer::report(int64_t step, const StepResult& result, Clock& clock, bool logged) {
  const double now = seconds_now();
  const double steps = static_cast<double>(step - clock.last_step);
  const int64_t tokens_each = config_->train.global_batch * config_->train.sequence_length;
  MetricsRow row;
  row.step = step;
  row.time = wall_time();
  row.tokens = step * tokens_each;
  row.loss = result.loss;
  row.grad_norm = result.gradient_norm;
  row.learning_rate =
      config_->optimizer.learning_rate *
      learning_rate_factor(config_->optimizer.schedule_config(config_->train.max_steps), step);
  row.step_seconds = (now - clock.last) / steps;
  row.tokens_per_second = static_cast<double>(tokens_each) / row.step_seconds;
  row.model_flops_per_second =
      row.tokens_per_second * model_flops_per_token(config_->model, config_->train.sequence_length);
  row.mfu = model_flops_utilization(row.model_flops_per_second, peak_flops_);
  row.validation_loss = validation_loss_;
  row.validation_losses = validation_losses_;
  if (position_.skipped_steps > 0) row.skipped_steps = position_.skipped_steps;
  if (logged) {
    gather(row, clock.times, steps);
    const double waited = mesh_->counters().seconds_waited();
    row.communication_wait_seconds = (waited - clock.waited) / steps;
    row.data_wait_seconds = clock.data_wait / steps;
    if (result.blend.tokens > 0) {
      row.replica_share_entropy = result.blend.entropy / static_cast<double>(result.blend.tokens);
      row.replica_cosine = result.blend.cosine / static_cast<double>(result.blend.tokens);
    }
    validation_loss_.reset();
    validation_losses_.clear();
    clock.waited = waited;
    clock.data_wait = 0;
    clock.times.clear();
    clock.last = now;
    clock.last_step = step;
  }
  if (log_) log_->step(row, logged);
}

void Trainer::count_skipped(int64_t step, const StepResult& result, double loss_limit) {
  ++position_.skipped_steps;
  ++position_.skipped_in_a_row;
  const int64_t first = (step - 1) * plan_.global_batch;
  say(cat("step ", step, ": loss ", result.loss,
          result.spike ? cat(" is a spike (the last ", config_->train.spike_window, " allow ", loss_limit, ")")
                       : cat(", gradient norm ", result.gradient_norm),
          ": update skipped, samples ", first, " to ", first + plan_.global_batch - 1));
  if (position_.skipped_in_a_row > config_->train.max_skipped_steps)
    throw UserError(cat("step ", step, ": ", position_.skipped_in_a_row, " updates in a row ",
                        config_->train.spike_z_score > 0 ? "had a loss spike (train.spike_z_score) or a loss or gradient that is not finite"
                                     : "had a loss or gradient that is not finite",
                        " (train.max_skipped_steps = ", config_->train.max_skipped_steps,
                        "); lower optimizer.learning_rate, or look at the samples named in log.txt"));
}

void Trainer::check_drift(const RunPosition& position) {
  if (config_->run.check_interval == 0 || checked_ == position.step) return;
  checked_ = position.step;
  std::vector<Replicated> held = replicated_parameters(training_.parameters());
  held.push_back({"the samples that were trained on", AxisSet{Axis::replica, Axis::tensor}, loader_->hash()});
  const int64_t counts[] = {position.step, position.next_sample, position.skipped_steps, position.skipped_in_a_row,
                            training_.optimizer().updates()};
  held.push_back({"the position of the run", AxisSet::all(), hash_of(counts, sizeof counts)});
  const std::vector<double>& losses = position.recent_losses;
  held.push_back({"the losses by which spikes are found", AxisSet::all(), hash_of(losses.data(), losses.size() * sizeof(double))});
  const std::vector<std::string> problems = drifted(*mesh_, held);
  if (!problems.empty())
    throw DriftError(cat("after step ", position.step, " ranks that must hold the same do not: ", join(problems, "; "),
                         "; no checkpoint was saved of this. Memory or network of a rank's machine may be faulty: start the run "
                         "again, on other machines if it recurs"));
}

Trainer::Ending Trainer::run() {
  try {
    return train();
  } catch (const Stopped& asked) {
    say(cat("stopped before step ", position_.step + 1, ": ", asked.what(), "; start it again to go on"));
    return Ending::stopped;
  } catch (const std::exception& failure) {
    try {
      std::string text = failure.what();
      std::replace(text.begin(), text.end(), '\n', ' ');
      if (log_) log_->record("error: " + text);
    } catch (const UserError&) {
      // The log cannot be written, which may be the failure itself.
    }
    throw;
  }
}

Trainer::Ending Trainer::train() {
  const int64_t max_steps = config_->train.max_steps;
  const ScheduleConfig schedule = config_->optimizer.schedule_config(max_steps);
  say(cat("layout ", to_string(mesh_->layout()), " (data x replica x tensor), ", plan_.accumulate(),
          " micro-batches a step"));
  for (const std::string& line : data_.summary(static_cast<uint64_t>(max_steps * plan_.global_batch))) say(line);
  for (const std::string& warning : config_->warnings) say("warning: " + warning);
  make_up_for_validation();
  stop_if_asked();
  if (position_.step >= max_steps) {
    say(cat("step ", position_.step, " of train.max_steps = ", max_steps, " is done: nothing is left to train"));
    return Ending::done;
  }
  loader_.emplace([this](uint64_t i, std::span<int32_t> tokens,
                         std::span<int32_t> documents) { data_.train().sample(i, tokens, documents); },
                  plan_, *device_, position_.step, max_steps);
  LossWindow window(config_->train.spike_z_score, config_->train.spike_window, position_.recent_losses);
  Clock clock(*mesh_);
  clock.last_step = position_.step;
  for (int64_t step = position_.step + 1; step <= max_steps; ++step) {
    last_->set_step(step);
    clock.times.begin();
    const double before = seconds_now();
    const std::vector<Batch> batches = loader_->next();
    clock.data_wait += seconds_now() - before;
    const int64_t targets = step_targets(batches, plan_, mesh_->group(Axis::data));
    const bool logged = step % config_->log.interval == 0 || step == 1 || step == max_steps;
    const double rate = config_->optimizer.learning_rate * learning_rate_factor(schedule, step);
    const StepResult result =
        training_.step(batches, targets, rate, logged && config_->model.parscale_n > 1, window.limit());
    clock.times.end();
    if (result.skipped) {
      count_skipped(step, result, window.limit());
    } else {
      position_.skipped_in_a_row = 0;
      window.add(result.loss);
      position_.recent_losses = window.losses();
    }
    const int64_t interval = config_->data.validation_interval;
    const bool validated = interval > 0 && (step % interval == 0 || step == max_steps);
    position_.validation_pending =
        validated && !validate([this] { return checkpointer_->stop_reason() != StopReason::none; });
    report(step, result, clock, logged || validated);
    position_.step = step;
    position_.next_sample = step * plan_.global_batch;
    if (config_->run.check_interval > 0 && step % config_->run.check_interval == 0) check_drift(position_);
    const StopReason reason = checkpointer_->after_step(position_, step == max_steps);
    if (reason != StopReason::none && (step < max_steps || position_.validation_pending)) {
      say(cat("stopped after step ", step, ": ", sentence(reason), "; start it again to go on"));
      return Ending::stopped;
    }
  }
  say(cat("done after ", max_steps, " steps, state ", std::hex, training_.optimizer().state_hash()));
  return Ending::done;
}

}  // namespace pscale
