#include "launch/checkpoint/checkpointer.h"

#include <algorithm>
#include <chrono>
#include <ctime>
#include <random>
#include <thread>

#include "core/base/bytes_moved.h"
#include "core/base/durable_file.h"
#include "core/base/hash.h"
#include "launch/metrics/format.h"
#include "parallel/checkpoint/slab.h"
#include "parallel/comm/texts.h"

namespace pscale {

namespace {

constexpr Purpose kCheckpoint{"checkpoint"};
constexpr double kStillSeconds = 60;
constexpr double kBriefSeconds = 0.5;  // a small checkpoint is complete before the next step
constexpr int64_t kSpareBytes = int64_t{16} << 20;  // for names and mappings, and for the log to go on

double seconds_now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

std::string utc_now() {
  const std::time_t now = std::time(nullptr);
  std::tm parts{};
  gmtime_r(&now, &parts);
  char text[32];
  std::strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &parts);
  return text;
}

std::string in_seconds(double seconds) {
  char text[32];
  std::snprintf(text, sizeof text, "%.3g s", seconds);
  return text;
}

template <class T>
bool running(const std::future<T>& job) {
  return job.valid() && job.wait_for(std::chrono::seconds(0)) != std::future_status::ready;
}

/// What a finished job failed with; empty where it did not.
template <class T>
std::vector<std::string> problems_of(std::future<T>& job, T& result) {
  try {
    result = job.get();
    return {};
  } catch (const UserError& e) {
    return e.problems();
  } catch (const std::exception& e) {
    return {e.what()};
  }
}

}  // namespace

Checkpointer::Checkpointer(const CheckpointConfig& config, CheckpointFolder folder, const Mesh& mesh,
                           const ParameterSet& parameters, const ShardedAdamW& optimizer, const StopRequest& stop,
                           Manifest about, CarriedFiles carried, std::function<void(const RunPosition&)> before_save,
                           std::function<void(const std::string&)> say)
    : config_(config),
      folder_(std::move(folder)),
      mesh_(&mesh),
      world_(&mesh.group(AxisSet::all())),
      parameters_(&parameters),
      optimizer_(&optimizer),
      stop_(&stop),
      about_(std::move(about)),
      carried_(std::move(carried)),
      before_save_(std::move(before_save)),
      say_(std::move(say)),
      last_begin_(seconds_now()) {
  about_.layout = mesh.layout();
  const DType masters = parameters.dtype() == DType::bfloat16 ? DType::float32 : parameters.dtype();
  for (const Parameter& p : parameters.all()) {
    const ParameterSpec& spec = p.spec();
    about_.tensors[spec.name] = {p.trainable() ? masters : parameters.dtype(), spec.shape,
                                 spec.file_shape.empty() ? spec.shape : spec.file_shape, p.trainable()};
  }
}

Checkpointer::~Checkpointer() = default;

Checkpointer::Agreed Checkpointer::agree(bool time_is_up) {
  int32_t flags[3] = {time_is_up, running(shard_) || running(whole_), static_cast<int32_t>(stop_->reason())};
  world_->all_reduce(flags, 3, DType::int32, Reduction::max, kCheckpoint).wait();
  if (stopping_ == StopReason::none) stopping_ = static_cast<StopReason>(flags[2]);
  return {flags[0] != 0, flags[1] != 0};
}

StopReason Checkpointer::stop_reason() {
  agree(false);
  return stopping_;
}

StopReason Checkpointer::after_step(const RunPosition& position, bool last) {
  entered_ = seconds_now();
  const bool minutes = config_.save_minutes > 0 && entered_ - last_begin_ >= 60 * config_.save_minutes;
  const Agreed agreed = agree(minutes && is_root());
  if (phase_ != Phase::idle && !agreed.running) advance();
  const bool interval = config_.save_interval > 0 && position.step % config_.save_interval == 0;
  last = last || stopping_ != StopReason::none;
  if (interval || agreed.time_is_up || last) {
    wait();
    last = last || stopping_ != StopReason::none;
    begin(position);
    if (!last && config_.async) wait_briefly();
    last = last || stopping_ != StopReason::none;  // asked meanwhile: this step is the one that is saved
  }
  if (last || !config_.async) wait();
  last = last || stopping_ != StopReason::none;
  if (last && failures_ > 0) {  // the last step has no later one to try again
    begin(position);
    wait();
  }
  stall_ += seconds_now() - entered_;
  return stopping_;
}

void Checkpointer::wait() {
  while (phase_ != Phase::idle) {
    wait_while_bytes_move();
    if (shard_.valid()) shard_.wait();
    if (whole_.valid()) whole_.wait();
    agree(false);
    advance();
  }
}

/// To the end of all ranks' jobs. Ranks that are through meet the others meanwhile, so that they are not taken for ones that stand
/// still (launch/watchdog.h); but only while some rank writes, so that a disk that hangs is seen.
void Checkpointer::wait_while_bytes_move() {
  BytesMoved own;
  double seen = -1, since = seconds_now();
  auto pause = std::chrono::milliseconds(1);
  for (;;) {
    double state[3] = {running(shard_) || running(whole_) ? 1.0 : 0.0, static_cast<double>(own.mebibytes()),
                       is_root() && seconds_now() - since > kStillSeconds ? 1.0 : 0.0};
    world_->all_reduce(state, 3, DType::float64, Reduction::sum, kCheckpoint).wait();
    if (state[0] == 0 || state[2] > 0) return;
    if (state[1] != seen) since = seconds_now();
    seen = state[1];
    std::this_thread::sleep_for(pause);
    pause = std::min(2 * pause, std::chrono::milliseconds(1000));
  }
}

void Checkpointer::wait_briefly() {
  const double start = seconds_now();
  while (phase_ != Phase::idle) {
    const Agreed agreed = agree(is_root() && seconds_now() - start > kBriefSeconds);
    if (!agreed.running) {
      advance();
    } else if (agreed.time_is_up) {
      return;
    } else {
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
  }
}

void Checkpointer::begin(const RunPosition& position) {
  entered_ = last_begin_ = seconds_now();
  stall_ = 0;
  before_save_(position);
  manifest_ = about_;
  manifest_.step = position.step;
  manifest_.updates = optimizer_->updates();
  manifest_.next_sample = position.next_sample;
  manifest_.skipped_steps = position.skipped_steps;
  manifest_.skipped_in_a_row = position.skipped_in_a_row;
  manifest_.validation_pending = position.validation_pending;
  manifest_.recent_losses = position.recent_losses;
  manifest_.created = utc_now();

  const std::vector<StateTensor> owned = owned_state(*parameters_, *optimizer_);
  double bytes = 0;
  for (const StateTensor& s : owned) bytes += static_cast<double>(s.tensor.bytes());
  world_->all_reduce(&bytes, 1, DType::float64, Reduction::sum, kCheckpoint).wait();

  std::vector<std::string> problems;
  std::string id;
  if (is_root()) {
    std::random_device random;
    id = to_hex(uint64_t{random()} << 32 | random()).substr(4);
    try {
      folder_.begin(position.step, id);
      const int64_t free = free_bytes(folder_.path()), needed = static_cast<int64_t>(bytes) + kSpareBytes;
      if (free < needed)
        problems.push_back(cat(folder_.path().string(), ": a checkpoint needs ", format_bytes(needed), ", but only ",
                               format_bytes(free), " are free"));
    } catch (const UserError& e) {
      problems = e.problems();
    }
  }
  manifest_.id = gather_texts(*world_, id, kCheckpoint)[0];
  phase_ = Phase::shards;
  problems = gather_problems(*world_, problems, kCheckpoint);
  if (!problems.empty()) return give_up(problems);

  const std::string path = shard_path(mesh_->rank(), manifest_.id);
  shard_ = std::async(std::launch::async, [state = copy_state(owned), path, folder = folder_, step = position.step,
                                           id = manifest_.id] {
    folder.begin(step, id);
    return write_shard(folder.being_written(step, id), path, state);
  });
}

void Checkpointer::advance() {
  if (phase_ == Phase::shards) {
    FileRecord record;
    const auto problems = gather_problems(*world_, problems_of(shard_, record), kCheckpoint);
    if (!problems.empty()) return give_up(problems);
    const auto records = gather_texts(*world_, to_json(record), kCheckpoint);
    phase_ = Phase::whole;
    if (!is_root()) return;
    for (const std::string& text : records) manifest_.files.push_back(file_record_from_json(text));
    whole_ = std::async(std::launch::async, [manifest = manifest_, carried = carried_, folder = folder_,
                                               config = config_]() mutable {
      write_whole_files(folder.being_written(manifest.step, manifest.id), manifest, carried);
      folder.commit(manifest.step, manifest.id);
      try {
        folder.prune(config.keep_last, config.keep_every);
      } catch (const UserError&) {
        // The checkpoint is saved; one too many stays until the next save.
      }
      int64_t bytes = 0;
      for (const FileRecord& file : manifest.files) bytes += file.bytes;
      return bytes;
    });
    return;
  }
  int64_t bytes = 0;
  std::vector<std::string> problems;
  if (is_root()) problems = problems_of(whole_, bytes);
  problems = gather_problems(*world_, problems, kCheckpoint);
  if (!problems.empty()) return give_up(problems);
  phase_ = Phase::idle;
  failures_ = 0;
  const double now = seconds_now();
  say_(cat("saved ", (folder_.path() / checkpoint_name(manifest_.step)).string(), ": ", format_bytes(static_cast<double>(bytes)), " in ",
           in_seconds(now - last_begin_), ", training waited ", in_seconds(stall_ + now - entered_)));
}

void Checkpointer::give_up(const std::vector<std::string>& problems) {
  phase_ = Phase::idle;
  ++failures_;
  for (const std::string& problem : problems)
    say_(cat("error: the checkpoint of step ", manifest_.step, " was not saved: ", problem));
  if (is_root()) {
    std::error_code ignored;
    std::filesystem::remove_all(folder_.being_written(manifest_.step, manifest_.id), ignored);
  }
  if (failures_ >= 2) {
    std::vector<std::string> all = problems;
    all.push_back("two checkpoints in a row could not be saved, so the run ends; what was saved before is intact");
    throw UserError(std::move(all));
  }
}

}  // namespace pscale
