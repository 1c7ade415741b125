// pscale_train CONFIG.toml [section.key=value ...] [--dry-run [--ranks N]] [--resume auto|none|PATH]
#include <iostream>
#include <optional>

#include "launch/command_line.h"
#include "launch/plan/plan.h"
#include "launch/program.h"
#include "launch/session.h"
#include "launch/train/trainer.h"
#include "launch/watchdog.h"

namespace {

namespace options = boost::program_options;
using namespace pscale;

int run(int argc, char** argv) {
  options::options_description visible("Options");
  visible.add_options()(
      "dry-run", "print the resolved configuration, parameters, memory per rank, FLOPs and traffic; train nothing")(
      "ranks", options::value<int>(), "with --dry-run: plan for this many ranks instead of those of mpirun")(
      "resume", options::value<std::string>()->default_value("auto"),
      "auto: go on from the newest sound checkpoint of run.dir; none: start afresh, the old files are set aside; or a "
      "checkpoint");
  const auto given = parse_command_line("pscale_train",
                                        "CONFIG.toml [section.key=value ...]\n\n"
                                        "Trains a ParScale model: mpirun -np RANKS pscale_train CONFIG.toml",
                                        visible, {argv + 1, argv + argc});
  if (!given) return kExitDone;
  if (given->words.empty())
    throw UserError("a configuration is missing: pscale_train CONFIG.toml [section.key=value ...]");
  if (given->has("ranks") && !given->has("dry-run"))
    throw UserError("--ranks goes with --dry-run; mpirun -np sets the ranks of a run");
  std::optional<StopRequest> stop;
  if (!given->has("dry-run")) stop.emplace();
  const Config config = load_config(given->words[0], {given->words.begin() + 1, given->words.end()});

  if (given->has("dry-run")) {
    const int ranks = given->has("ranks") ? given->get<int>("ranks") : launched_ranks();
    if (ranks < 1) throw UserError("--ranks must be at least 1");
    if (launched_rank() != 0) return kExitDone;
    const Plan plan = make_plan(config, layout_for(config, ranks));
    std::cout << to_toml(config) << "\n" << to_text(plan, config);
    for (const std::string& warning : config.warnings) std::cout << "warning: " << warning << "\n";
    return kExitDone;
  }
  if (config.data.train.empty())
    throw UserError(cat(config.origins.name("data.train"), " is missing: the prefix of token files made by pscale_data prepare"));
  stop->limit(config.run.max_minutes);
  const std::filesystem::path log = std::filesystem::path(config.run.dir) / "log.txt";  // of this run's earlier starts
  const auto last = std::make_shared<LastCollective>();
  Watchdog watchdog(config.run.timeout_seconds, last, log);
  MpiWorld world(argc, argv, last);
  Session session(config, world);
  watchdog.watch(session.device().allocator().allocations());
  std::optional<Trainer> trainer;
  try {
    trainer.emplace(config, session.device(), session.mesh(), *stop, *last, resume_request(given->get<std::string>("resume")));
  } catch (const Stopped& asked) {
    if (world.rank() != 0) return kExitRunAgain;
    const std::string line = cat("stopped before training: ", asked.what(), "; start it again to go on");
    std::cout << line << "\n";
    add_to_log(log, line);
    return kExitRunAgain;
  }
  return trainer->run() == Trainer::Ending::done ? kExitDone : kExitRunAgain;
}

}  // namespace

int main(int argc, char** argv) {
  return run_program([&] { return run(argc, argv); });
}
