#include "launch/sweep/launcher.h"

#include <sched.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <sstream>

#include "core/base/errors.h"
#include "launch/program.h"
#include "launch/sweep/slurm_job.h"

namespace pscale {
namespace {

constexpr int kLaunches = 3;
// mpirun's daemons wait this long before SIGTERM and again before SIGKILL: ranks that Slurm has told to stop
// save meanwhile.
constexpr const char* kSigkillSeconds = "15";

/// A file for rank 0's exit code, removed at the end.
class ExitCodeFile {
 public:
  ExitCodeFile() : path_((std::filesystem::temp_directory_path() / "pscale_exit_XXXXXX").string()) {
    const int file = mkstemp(path_.data());
    if (file < 0) throw UserError(cat(path_, ": cannot make a file (", std::strerror(errno), ")"));
    close(file);
  }
  ~ExitCodeFile() { std::remove(path_.c_str()); }
  ExitCodeFile(const ExitCodeFile&) = delete;
  ExitCodeFile& operator=(const ExitCodeFile&) = delete;
  const std::string& path() const { return path_; }
  std::optional<int> code() const {
    std::ifstream file(path_);
    int code = 0;
    return file >> code ? std::optional(code) : std::nullopt;
  }

 private:
  std::string path_;
};

int number(const std::optional<std::string>& text) {
  int value = 0;
  if (text) std::from_chars(text->data(), text->data() + text->size(), value);
  return value;
}

int nodes_of(const Surroundings& around) {
  return std::max(1, number(around.variable("SLURM_JOB_NUM_NODES")));
}

/// A count of GPUs as Slurm writes it: 4, gpu:4, a100:4, a100:2,h100:2.
int gpu_count(const std::optional<std::string>& text) {
  int count = 0;
  std::istringstream parts(text.value_or(""));
  for (std::string part; std::getline(parts, part, ',');) count += number(part.substr(part.rfind(':') + 1));
  return count;
}

/// GPUs of each node; 0 where the allocation has none. salloc does not set all that sbatch sets.
int gpus_per_node(const Surroundings& around) {
  for (const char* each_node : {"SLURM_GPUS_ON_NODE", "SLURM_GPUS_PER_NODE"})
    if (const int count = gpu_count(around.variable(each_node)); count > 0) return count;
  if (const int all = gpu_count(around.variable("SLURM_GPUS")); all > 0)
    return (all + nodes_of(around) - 1) / nodes_of(around);
  const std::string ids = around.variable("SLURM_JOB_GPUS").value_or("");
  return ids.empty() ? 0 : static_cast<int>(std::count(ids.begin(), ids.end(), ',')) + 1;
}

/// Tasks of the allocation; a rank for each GPU where only GPUs were asked for.
int allocated_ranks(const Surroundings& around) {
  if (const int tasks = number(around.variable("SLURM_NTASKS")); tasks > 0) return tasks;
  for (const int count : {number(around.variable("SLURM_NTASKS_PER_NODE")), gpus_per_node(around)})
    if (count > 0) return count * nodes_of(around);
  return nodes_of(around);
}

std::string chosen(const LaunchRequest& request, const Surroundings& around, bool in_slurm, int ranks) {
  if (request.launcher != "auto") {
    if (request.launcher != "srun" && request.launcher != "mpirun" && request.launcher != "none")
      throw UserError(cat("--launcher ", request.launcher, ": must be auto, srun, mpirun or none"));
    if (request.launcher == "srun" && !in_slurm)
      throw UserError("--launcher srun: there is no Slurm allocation here; take one with salloc or sbatch");
    if (request.launcher != "none" && !around.has_program(request.launcher))
      throw UserError(cat("--launcher ", request.launcher, ": it is not in PATH"));
    if (request.launcher == "none" && ranks > 1)
      throw UserError(cat("--launcher none starts one rank, not ", ranks));
    return request.launcher;
  }
  if (in_slurm && around.has_program("srun") && around.srun_has_pmix()) return "srun";
  if (!in_slurm && ranks == 1) return "none";
  if (around.has_program("mpirun")) return "mpirun";
  throw UserError(cat("cannot start ", ranks, " ranks: mpirun is not in PATH (source launch/env.sh)",
                      in_slurm ? ", and srun here knows no --mpi=pmix" : ""));
}

}  // namespace

Surroundings real_surroundings() {
  Surroundings around;
  around.variable = [](const std::string& name) -> std::optional<std::string> {
    const char* text = std::getenv(name.c_str());
    return text && *text ? std::optional<std::string>(text) : std::nullopt;
  };
  around.has_program = [](const std::string& name) {
    const char* path = std::getenv("PATH");
    std::istringstream folders(path ? path : "");
    for (std::string folder; std::getline(folders, folder, ':');)
      if (access((folder + "/" + name).c_str(), X_OK) == 0) return true;
    return false;
  };
  around.srun_has_pmix = [] {
    return output_of({"srun", "--mpi=list"}).value_or("").find("pmix") != std::string::npos;
  };
  cpu_set_t cores;
  CPU_ZERO(&cores);
  if (sched_getaffinity(0, sizeof(cores), &cores) == 0) around.cores = CPU_COUNT(&cores);
  return around;
}

Launch find_launch(const LaunchRequest& request, const Surroundings& around) {
  if (request.ranks < 0) throw UserError("--ranks must be at least 1");
  const bool in_slurm = around.variable("SLURM_JOB_ID").has_value();
  Launch launch;
  launch.ranks = request.ranks > 0 ? request.ranks : in_slurm ? allocated_ranks(around) : 1;
  int each_node = 0;  // where it is fewer than the allocation's tasks
  if (in_slurm && request.gpus && request.ranks == 0) {
    const int gpus = gpus_per_node(around), given = gpu_count(around.variable("SLURM_GPUS"));
    const int all = given > 0 ? given : gpus * nodes_of(around);
    if (all > 0 && all < launch.ranks) {
      launch.note =
          cat("the job has ", launch.ranks, " tasks and ", all, " GPUs: ", all, " ranks are started");
      launch.ranks = all;
      each_node = gpus;
    }
  }
  const std::string launcher = chosen(request, around, in_slurm, launch.ranks);
  const int cpus = number(around.variable("SLURM_CPUS_PER_TASK"));
  if (in_slurm && !around.variable("OMP_NUM_THREADS"))
    launch.environment.emplace_back("OMP_NUM_THREADS", cat(std::max(1, cpus)));

  if (launcher == "none" && in_slurm) {
    // One rank on purpose: the program would miss the allocation's other tasks.
    launch.environment.emplace_back("SLURM_NTASKS", "1");
  } else if (launcher == "srun") {
    launch.words = {"srun"};
    if (around.srun_has_pmix()) launch.words.push_back("--mpi=pmix");
    // sbatch hands its own --export on, and the ranks need the variables set here.
    launch.words.push_back("--export=ALL");
    launch.words.push_back(cat("--ntasks=", launch.ranks));
    if (each_node > 0) launch.words.push_back(cat("--ntasks-per-node=", each_node));
    // A step does not take the job's --cpus-per-task by itself since Slurm 22.05.
    if (cpus > 0) launch.words.push_back(cat("--cpus-per-task=", cpus));
    // Every rank sees all GPUs of its node and takes the one of its local rank.
    if (gpus_per_node(around) > 0) launch.words.push_back("--gpu-bind=none");
    // A rank that died must not leave the others waiting for it; --kill-on-bad-exit would hide the exit code.
    launch.words.push_back("--wait=30");
  } else if (launcher == "mpirun") {
    launch.words = {"mpirun", "-np", cat(launch.ranks)};
    if (in_slurm) {
      const int here = (launch.ranks + nodes_of(around) - 1) / nodes_of(around);
      const std::string by = each_node > 0 ? cat("ppr:", each_node, ":node") : "slot";
      if (cpus > 1 && here * cpus <= around.cores)
        launch.words.insert(launch.words.end(), {"--map-by", cat(by, ":PE=", cpus), "--bind-to", "core"});
      else if (each_node > 0)
        launch.words.insert(launch.words.end(), {"--map-by", by, "--bind-to", "none"});
      else
        launch.words.insert(launch.words.end(), {"--bind-to", "none"});
      if (!around.variable("OMPI_MCA_odls_base_sigkill_timeout"))
        launch.environment.emplace_back("OMPI_MCA_odls_base_sigkill_timeout", kSigkillSeconds);
      for (const char* name : {"OMP_NUM_THREADS", "PATH", "LD_LIBRARY_PATH"})
        if (name == std::string("OMP_NUM_THREADS") || around.variable(name))
          launch.words.insert(launch.words.end(), {"-x", name});
    }
  }
  return launch;
}

std::optional<int> srun_exit_code(const std::string& line) {
  const std::string words = "Exited with exit code ";
  const size_t at = line.find(words);
  if (!line.starts_with("srun: error:") || at == std::string::npos) return std::nullopt;
  const int code = number(line.substr(at + words.size()));
  return code > 0 ? std::optional(code) : std::nullopt;
}

bool srun_failed_to_launch(const std::string& line) {
  return line.starts_with("srun: error:") && line.find(" launch failed: ") != std::string::npos;
}

ChildExit run_launched(const Launch& launch, const std::vector<std::string>& command, ChildOptions options,
                       const std::function<void()>& on_retry) {
  std::vector<std::string> words = launch.words;
  words.insert(words.end(), command.begin(), command.end());
  const ExitCodeFile rank_0;
  if (!words.empty() && words[0] == "mpirun") words.insert(words.begin() + 1, {"-x", kExitCodeFile});
  options.environment = launch.environment;
  options.environment.emplace_back(kExitCodeFile, rank_0.path());
  std::optional<int> first;
  bool launched = true;
  const auto on_line = std::move(options.on_error_line);
  options.on_error_line = [&](const std::string& line) {
    if (!first) first = srun_exit_code(line);
    if (srun_failed_to_launch(line)) launched = false;
    if (on_line) on_line(line);
  };
  // Slurm tells the processes of job steps of a preemption, not those of the script, such as mpirun's.
  if (const std::string job = this_slurm_job();
      !job.empty() && (launch.words.empty() || launch.words[0] != "srun"))
    options.should_stop = [job](const std::stop_token& give_up) { return is_being_preempted(job, give_up); };
  ChildExit ended;
  for (int trial = 0; trial < kLaunches; ++trial) {
    if (trial > 0) {
      std::cerr << "srun could not start the ranks: trying again\n";
      if (on_retry) on_retry();
    }
    first.reset();
    launched = true;
    ended = run_child(words, options);
    if (launched || ended.asked_to_stop) break;
  }
  // srun's own code is 0 where it started no rank.
  if (!launched) ended.code = ended.asked_to_stop ? kExitRunAgain : kExitFailed;
  if (ended.code > 128 && ended.signal == 0 && first) ended.code = *first;
  if (ended.code != kExitDone && rank_0.code() == kExitRunAgain) ended.code = kExitRunAgain;
  return ended;
}

std::string shell_text(const Launch& launch, const std::vector<std::string>& command) {
  std::vector<std::string> words;
  for (const auto& [name, value] : launch.environment) words.push_back(cat(name, "=", value));
  const auto add = [&](const std::string& word) {
    const bool plain =
        !word.empty() &&
        word.find_first_not_of("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-./=,:+%@") ==
            std::string::npos;
    std::string quoted = "'";
    for (const char c : word) quoted += c == '\'' ? std::string("'\\''") : std::string(1, c);
    words.push_back(plain ? word : quoted + "'");
  };
  for (const std::string& word : launch.words) add(word);
  for (const std::string& word : command) add(word);
  return join(words, " ");
}

}  // namespace pscale
