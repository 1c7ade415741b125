// pscale_sweep list | run | status | report  SWEEP.toml [section.key=value ...]
#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <iostream>

#include "launch/command_line.h"
#include "launch/program.h"
#include "launch/session.h"
#include "launch/sweep/child_process.h"
#include "launch/sweep/launcher.h"
#include "launch/sweep/report.h"
#include "launch/sweep/run_point.h"
#include "launch/sweep/sweep_list.h"

namespace {

namespace options = boost::program_options;
using namespace pscale;

const char* const kUsage =
    "COMMAND ...\n\n"
    "  list SWEEP.toml       the runs of a sweep with their numbers, and the points that are left out\n"
    "  run SWEEP.toml        starts one run (--index I), or those that failed (--failed)\n"
    "  status SWEEP.toml     where each run is: waiting, running, done, failed and why\n"
    "  report SWEEP.toml     one HTML page and a CSV of all runs\n"
    "  launch -- PROGRAM     starts any program as `run` does: under srun or mpirun as found\n\n"
    "section.key=value after SWEEP.toml sets a key of all runs, or sweep.dir. Each command has --help.\n";

struct Opened {
  Sweep sweep;
  SweepRuns runs;
};

Opened open_sweep(const CommandLine& given, const std::string& command) {
  if (given.words.empty()) throw UserError(cat("a sweep is missing: pscale_sweep ", command, " SWEEP.toml"));
  Sweep sweep = read_sweep(given.words[0], {given.words.begin() + 1, given.words.end()});
  SweepRuns runs = expand(sweep);
  return {std::move(sweep), std::move(runs)};
}

std::vector<RunStatus> states_of(const std::vector<SweepRun>& runs) {
  SlurmJobs slurm;
  std::vector<RunStatus> states;
  for (const SweepRun& run : runs) states.push_back(status_of(run, read_metrics(run.folder()), slurm));
  return states;
}

/// What is started, with what the user should know of it.
Launch launch_of(const LaunchRequest& request, const Surroundings& around) {
  Launch launch = find_launch(request, around);
  if (!launch.note.empty()) std::cerr << "note: " << launch.note << "\n";
  return launch;
}

/// Whether a command of pscale_train sets run.device to cuda, as the job scripts do where there are GPUs.
bool on_gpus(const std::vector<std::string>& command) {
  std::string device;
  for (const std::string& word : command)
    if (word.starts_with("run.device=")) device = word.substr(word.find('=') + 1);
  return device == "cuda";
}

int list(const std::vector<std::string>& arguments) {
  options::options_description visible("Options");
  visible.add_options()("ranks", options::value<int>(),
                        "also show the layout of each run on so many ranks, and refuse what does not fit")(
      "count", "print the number of runs alone");
  const auto given = parse_command_line(
      "pscale_sweep list",
      "SWEEP.toml [section.key=value ...]\n\nThe runs of a sweep, and the points that are left out.", visible,
      arguments);
  if (!given) return kExitDone;
  const Opened opened = open_sweep(*given, "list");
  if (given->has("count")) {
    std::cout << opened.runs.runs.size() << "\n";
    return kExitDone;
  }
  std::cout << list_text(opened.sweep, opened.runs, given->has("ranks") ? given->get<int>("ranks") : 0);
  return kExitDone;
}

/// Starts what failed again: as an array of jobs where a Slurm takes jobs, else one after the other.
int run_failed(const Opened& opened, const CommandLine& given, const LaunchRequest& request) {
  const std::vector<RunStatus> states = states_of(opened.runs.runs);
  std::vector<SweepRun> failed;
  std::vector<int64_t> indices;
  for (size_t i = 0; i < states.size(); ++i)
    if (states[i].state == RunState::failed) {
      failed.push_back(opened.runs.runs[i]);
      indices.push_back(failed.back().index);
    }
  if (failed.empty()) {
    std::cout << "no run has failed: there is nothing to do\n";
    return kExitDone;
  }
  const bool dry = given.has("dry-run");
  const Surroundings around = real_surroundings();
  if (!around.variable("SLURM_JOB_ID") && request.launcher == "auto" && around.has_program("sbatch") &&
      output_of({"sinfo", "--noheader"})) {
    const std::vector<std::string> words(given.words.begin() + 1, given.words.end());
    const auto text = [&](const char* name) { return given.has(name) ? given.get<std::string>(name) : ""; };
    const std::vector<std::string> command =
        submission(opened.sweep, indices, words, text("script"), text("sbatch"));
    if (dry) {
      std::cout << shell_text({}, command) << "\n";
      return kExitDone;
    }
    return run_child(command, {}).code;
  }
  int code = kExitDone;
  for (const SweepRun& run : failed) {
    const Launch launch =
        launch_of({request.launcher, request.ranks, run.config.run.device == "cuda"}, around);
    if (dry) {
      std::cout << shell_text(launch, train_command(opened.sweep, run)) << "\n";
      continue;
    }
    const ChildExit ended = run_to_end(opened.sweep, run, launch);
    if (ended.code != kExitDone) code = ended.code;
    if (ended.asked_to_stop || ended.code == kExitRunAgain) return kExitRunAgain;  // the others, too
  }
  return code;
}

int run(const std::vector<std::string>& arguments) {
  options::options_description visible("Options");
  visible.add_options()(
      "index", options::value<int64_t>(),
      "the number that `list` gives the run; one beyond the last ends at once, successfully")(
      "failed", "start the failed runs again: as a job array where sbatch is, else one after the other")(
      "ranks", options::value<int>()->default_value(0),
      "MPI ranks; 0: the tasks of the Slurm allocation, 1 outside one")(
      "launcher", options::value<std::string>()->default_value("auto"), "auto, srun, mpirun or none")(
      "script", options::value<std::string>(), "with --failed: the script to give to sbatch")(
      "sbatch", options::value<std::string>(),
      "with --failed: more flags of sbatch, in one word: --sbatch \"--time=60 --partition=long\"")(
      "dry-run", "print the command and start nothing");
  const auto given = parse_command_line("pscale_sweep run",
                                        "SWEEP.toml --index I | --failed [section.key=value ...]\n\n"
                                        "Starts a run in its folder, where it goes on from its newest "
                                        "checkpoint, and ends with its exit code. A run that is\n"
                                        "done is not started again, one that is running is refused.",
                                        visible, arguments);
  if (!given) return kExitDone;
  if (given->has("index") == given->has("failed"))
    throw UserError("give either --index I or --failed; see pscale_sweep run --help");
  const LaunchRequest request{given->get<std::string>("launcher"), given->get<int>("ranks")};
  const Opened opened = open_sweep(*given, "run");
  if (given->has("failed")) return run_failed(opened, *given, request);

  const auto index = given->get<int64_t>("index");
  const auto count = static_cast<int64_t>(opened.runs.runs.size());
  if (index < 0) throw UserError("--index must be at least 0");
  if (index >= count) {
    std::cout << "sweep " << opened.sweep.name << " has runs 0 to " << count - 1 << ": for " << index
              << " there is nothing to do\n";
    return kExitDone;
  }
  const SweepRun& chosen = opened.runs.runs[static_cast<size_t>(index)];
  const Launch launch =
      launch_of({request.launcher, request.ranks, chosen.config.run.device == "cuda"}, real_surroundings());
  if (given->has("dry-run")) {
    std::cout << shell_text(launch, train_command(opened.sweep, chosen)) << "\n";
    return kExitDone;
  }
  return run_to_end(opened.sweep, chosen, launch).code;
}

int status(const std::vector<std::string>& arguments) {
  const auto given = parse_command_line("pscale_sweep status",
                                        "SWEEP.toml [section.key=value ...]\n\nWhere each run is, from the "
                                        "run folders, and from Slurm where there is one.",
                                        options::options_description("Options"), arguments);
  if (!given) return kExitDone;
  const Opened opened = open_sweep(*given, "status");
  std::cout << status_text(opened.runs.runs, states_of(opened.runs.runs));
  return kExitDone;
}

int report(const std::vector<std::string>& arguments) {
  options::options_description visible("Options");
  visible.add_options()("out", options::value<std::string>(),
                        "folder of report.html and report.csv; sweep.dir where not given");
  const auto given = parse_command_line("pscale_sweep report",
                                        "SWEEP.toml [section.key=value ...]\n\n"
                                        "One HTML page that needs nothing else (loss curves, last losses "
                                        "against each swept key, a table, the best run) and a CSV.\n"
                                        "Runs that are not finished are shown as far as they are.",
                                        visible, arguments);
  if (!given) return kExitDone;
  const Opened opened = open_sweep(*given, "report");
  const std::filesystem::path out =
      given->has("out") ? std::filesystem::path(given->get<std::string>("out")) : opened.sweep.dir;
  std::vector<ReportRun> runs;
  SlurmJobs slurm;
  for (const SweepRun& run : opened.runs.runs) {
    std::vector<RunRow> rows = read_metrics(run.folder());
    RunStatus status = status_of(run, rows, slurm);
    runs.push_back({run, std::move(status), std::move(rows)});
  }
  for (const std::filesystem::path& file : write_report(opened.sweep, runs, opened.runs.dropped, out))
    std::cout << file.string() << "\n";
  return kExitDone;
}

int launch(const std::vector<std::string>& arguments) {
  options::options_description visible("Options");
  visible.add_options()("ranks", options::value<int>()->default_value(0),
                        "MPI ranks; 0: the tasks of the Slurm allocation, 1 outside one")(
      "launcher", options::value<std::string>()->default_value("auto"), "auto, srun, mpirun or none")(
      "dry-run", "print the command and start nothing");
  const auto given = parse_command_line("pscale_sweep launch",
                                        "[options] -- PROGRAM [argument ...]\n\nStarts a program under srun "
                                        "or mpirun as found, and ends with its exit code.",
                                        visible, arguments);
  if (!given) return kExitDone;
  if (given->words.empty()) throw UserError("a program is missing: pscale_sweep launch -- PROGRAM");
  const std::vector<std::string>& command = given->words;
  const Launch start = launch_of(
      {given->get<std::string>("launcher"), given->get<int>("ranks"), on_gpus(command)}, real_surroundings());
  if (given->has("dry-run")) {
    std::cout << shell_text(start, command) << "\n";
    return kExitDone;
  }
  return run_launched(start, command, {}).code;
}

int dispatch(int argc, char** argv) {
  const std::string command = argc > 1 ? argv[1] : "";
  const std::vector<std::string> arguments(argv + std::min(argc, 2), argv + argc);
  if (command == "run" || command == "launch") keep_stop_signals();
  if (command == "list") return list(arguments);
  if (command == "run") return run(arguments);
  if (command == "status") return status(arguments);
  if (command == "report") return report(arguments);
  if (command == "launch") return launch(arguments);
  if (command == "--help" || command == "-h") {
    std::cout << "pscale_sweep " << kUsage;
    return kExitDone;
  }
  throw UserError(cat(command.empty() ? "a command is missing" : cat("there is no command \"", command, "\""),
                      "; the commands are list, run, status, report, launch; see pscale_sweep --help"));
}

}  // namespace

int main(int argc, char** argv) {
  return run_program([&] { return dispatch(argc, argv); });
}
