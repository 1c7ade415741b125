// pscale_train CONFIG.toml [section.key=value ...] [--dry-run [--ranks N]]
#include <boost/program_options.hpp>
#include <iostream>

#include "launch/plan/plan.h"
#include "launch/program.h"
#include "launch/session.h"
#include "launch/train/trainer.h"

namespace {

namespace options = boost::program_options;
using namespace pscale;

int run(int argc, char** argv) {
  std::vector<std::string> words;
  options::options_description visible("Trains a ParScale model.\n\n"
      "  mpirun -np RANKS pscale_train CONFIG.toml [section.key=value ...]\n\nOptions");
  visible.add_options()("help,h", "this text")
      ("dry-run", "print the resolved configuration, parameters, memory per rank, FLOPs and traffic; train nothing")
      ("ranks", options::value<int>(), "with --dry-run: plan for this many ranks instead of those of mpirun");
  options::options_description all;
  all.add(visible).add_options()("words", options::value(&words));
  options::variables_map given;
  try {
    options::positional_options_description positional;
    positional.add("words", -1);
    options::store(options::command_line_parser(argc, argv).options(all).positional(positional).run(), given);
    options::notify(given);
  } catch (const options::error& e) {
    throw UserError(cat(e.what(), "; see pscale_train --help"));
  }
  if (given.contains("help")) {
    std::cout << visible;
    return 0;
  }
  if (words.empty()) throw UserError("a configuration is missing: pscale_train CONFIG.toml [section.key=value ...]");
  if (given.contains("ranks") && !given.contains("dry-run")) throw UserError("--ranks goes with --dry-run; mpirun -np sets the ranks of a run");
  const Config config = load_config(words[0], {words.begin() + 1, words.end()});

  if (given.contains("dry-run")) {
    const int ranks = given.contains("ranks") ? given["ranks"].as<int>() : launched_ranks();
    if (ranks < 1) throw UserError("--ranks must be at least 1");
    if (launched_rank() != 0) return 0;
    const Plan plan = make_plan(config, layout_for(config, ranks));
    std::cout << to_toml(config) << "\n" << to_text(plan, config);
    for (const std::string& warning : config.warnings) std::cout << "warning: " << warning << "\n";
    return 0;
  }
  if (config.data.train.empty())
    throw UserError(cat(config.origins.name("data.train"), " is missing: the prefix of token files made by pscale_data prepare"));
  if (!config.train.init_from.empty())
    throw UserError(cat(config.origins.name("train.init_from"),
                        " cannot be read by this version, which only starts from new weights; --dry-run plans the run"));
  MpiWorld world(argc, argv);
  Session session(config, world);
  Trainer trainer(config, session.device(), session.mesh());
  trainer.run();
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  return run_program([&] { return run(argc, argv); });
}
