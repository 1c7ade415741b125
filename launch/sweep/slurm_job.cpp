#include "launch/sweep/slurm_job.h"

#include <cstdlib>
#include <optional>
#include <sstream>

#include "core/base/text.h"
#include "launch/sweep/child_process.h"

namespace pscale {
namespace {

std::string first_word(const std::string& text) {
  const size_t begin = text.find_first_not_of(" \n\t");
  if (begin == std::string::npos) return "";
  return text.substr(begin, text.find_first_of(" \n\t+", begin) - begin);
}

/// The value of NAME=VALUE in a line of scontrol's.
std::string field(const std::string& line, const std::string& name) {
  const size_t at = line.find(" " + name + "=");
  return at == std::string::npos ? "" : first_word(line.substr(at + name.size() + 2));
}

std::optional<std::string> shown(const std::string& job, const std::stop_token& give_up = {}) {
  if (job.empty() || job.find_first_not_of("0123456789_") != std::string::npos) return std::nullopt;
  return output_of({"scontrol", "--oneliner", "show", "job", job}, give_up);
}

std::string variable(const char* name) {
  const char* text = std::getenv(name);
  return text ? text : "";
}

}  // namespace

std::string this_slurm_job() {
  const std::string array = variable("SLURM_ARRAY_JOB_ID"), task = variable("SLURM_ARRAY_TASK_ID");
  return array.empty() || task.empty() ? variable("SLURM_JOB_ID") : cat(array, "_", task);
}

bool is_being_preempted(const std::string& job, const std::stop_token& give_up) {
  // 2026-01-01T00:00:00, or None.
  const std::string since = field(shown(job, give_up).value_or(""), "PreemptTime");
  return !since.empty() && since.find_first_not_of("0123456789-:T") == std::string::npos;
}

std::optional<double> slurm_seconds(const std::string& text) {
  double days = 0, seconds = 0;
  size_t from = text.find('-');
  if (from != std::string::npos) days = std::atof(text.substr(0, from).c_str());
  from = from == std::string::npos ? 0 : from + 1;
  if (from >= text.size() || text.find_first_not_of("0123456789:", from) != std::string::npos)
    return std::nullopt;
  std::istringstream parts(text.substr(from));
  for (std::string part; std::getline(parts, part, ':');) seconds = seconds * 60 + std::atof(part.c_str());
  return days * 86400 + seconds;
}

std::string SlurmJobs::state(const std::string& job) { return ask(job).state; }
std::optional<double> SlurmJobs::seconds_left(const std::string& job) { return ask(job).seconds_left; }

bool SlurmJobs::answers() {
  if (!is_up_) is_up_ = output_of({"scontrol", "ping"}).value_or("").find("is UP") != std::string::npos;
  return *is_up_;
}

const SlurmJobs::Answer& SlurmJobs::ask(const std::string& job) {
  const auto [known, added] = answers_.try_emplace(job);
  Answer& answer = known->second;
  if (!added || job.empty()) return answer;
  // scontrol forgets a job minutes after its end, sacct is not set up everywhere.
  if (const auto line = shown(job)) {
    answer.state = field(*line, "JobState");
    const auto limit = slurm_seconds(field(*line, "TimeLimit")), ran = slurm_seconds(field(*line, "RunTime"));
    if (limit && ran) answer.seconds_left = *limit - *ran;
  }
  if (answer.state.empty())
    if (const auto counted =
            output_of({"sacct", "--noheader", "--allocations", "--jobs=" + job, "--format=State"}))
      answer.state = first_word(*counted);
  return answer;
}

}  // namespace pscale
