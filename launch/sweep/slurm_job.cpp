#include "launch/sweep/slurm_job.h"

#include <optional>

#include "launch/sweep/child_process.h"

namespace pscale {
namespace {

std::string first_word(const std::string& text) {
  const size_t begin = text.find_first_not_of(" \n\t");
  if (begin == std::string::npos) return "";
  return text.substr(begin, text.find_first_of(" \n\t+", begin) - begin);
}

std::string ask(const std::string& job) {
  // scontrol forgets a job minutes after its end, sacct is not set up everywhere.
  if (const auto shown = output_of({"scontrol", "--oneliner", "show", "job", job})) {
    const size_t at = shown->find("JobState=");
    if (at != std::string::npos) return first_word(shown->substr(at + 9));
  }
  if (const auto counted =
          output_of({"sacct", "--noheader", "--allocations", "--jobs=" + job, "--format=State"}))
    return first_word(*counted);
  return "";
}

}  // namespace

std::string SlurmJobs::state(const std::string& job) {
  if (job.empty() || job.find_first_not_of("0123456789_") != std::string::npos) return "";
  const auto known = states_.find(job);
  if (known != states_.end()) return known->second;
  return states_[job] = ask(job);
}

}  // namespace pscale
