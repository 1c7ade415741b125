// What Slurm says about a job, where there is a Slurm.
#pragma once

#include <map>
#include <string>

namespace pscale {

/// Asks squeue, sacct and scontrol, each job once.
class SlurmJobs {
 public:
  /// RUNNING, PENDING, COMPLETED, TIMEOUT, NODE_FAIL, OUT_OF_MEMORY, CANCELLED, ...; empty where nobody
  /// knows.
  std::string state(const std::string& job);

 private:
  std::map<std::string, std::string> states_;
};

}  // namespace pscale
