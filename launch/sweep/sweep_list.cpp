#include "launch/sweep/sweep_list.h"

#include <algorithm>
#include <boost/program_options/parsers.hpp>
#include <iomanip>
#include <map>

#include "core/base/errors.h"
#include "launch/session.h"
#include "launch/sweep/run_point.h"

namespace pscale {

namespace fs = std::filesystem;

std::string list_text(const Sweep& sweep, const SweepRuns& runs, int ranks) {
  std::ostringstream out;
  std::vector<std::string> fixed, problems;
  for (const Assignment& given : sweep.fixed) fixed.push_back(cat(given.key, "=", given.value.text()));
  out << "sweep " << sweep.name << ": " << runs.runs.size()
      << (runs.runs.size() == 1 ? " run in " : " runs in ") << sweep.dir.string() << ", from "
      << sweep.base.string() << "\n";
  if (!fixed.empty()) out << "all: " << join(fixed, " ") << "\n";
  std::map<std::string, std::vector<std::string>> warned;
  for (const SweepRun& run : runs.runs) {
    std::vector<std::string> swept;
    for (const std::string& text : run.overrides) {
      const bool shared = std::find(fixed.begin(), fixed.end(), text) != fixed.end();
      if (!shared && !text.starts_with("run.dir=")) swept.push_back(text);
    }
    out << std::setw(4) << run.index << "  " << run.name;
    if (ranks > 0) {
      try {
        out << "  layout " << to_string(layout_for(run.config, ranks));
      } catch (const UserError& e) {
        for (const std::string& problem : e.problems())
          problems.push_back(cat("run ", run.index, " (", run.name, "): ", problem));
      }
    }
    out << "\n        " << join(swept, " ") << "\n";
    for (const std::string& warning : run.config.warnings) warned[warning].push_back(cat(run.index));
  }
  if (!problems.empty()) throw UserError(std::move(problems));
  for (const auto& [warning, indices] : warned)
    out << "warning: " << warning << " (runs " << join(indices, ", ") << ")\n";
  if (!runs.dropped.empty()) out << "left out:\n";
  for (const DroppedPoint& point : runs.dropped)
    out << "   -  " << point.name << ": " << point.because << "\n";
  return out.str();
}

std::vector<std::string> submission(const Sweep& sweep, const std::vector<int64_t>& indices,
                                    const std::vector<std::string>& overrides, const std::string& script,
                                    const std::string& flags) {
  fs::path chosen = script;
  if (script.empty()) {
    // build/bin of a source tree, or bin of an installation.
    const fs::path bin = program_folder();
    for (const fs::path& root : {bin / "../..", bin / "../share/pscale"})
      for (const std::string& name : {cat("sweep_", sweep.name, ".sh"), std::string("sweep.sh")})
        if (chosen.empty() && fs::exists(root / "launch" / name))
          chosen = fs::canonical(root / "launch" / name);
    if (chosen.empty())
      throw UserError("no job script was found beside the programs; name one with --script launch/sweep.sh");
  } else if (!fs::exists(chosen)) {
    throw UserError(cat("--script ", script, ": there is no such file"));
  }
  std::vector<std::string> command{"env", cat("SWEEP=", fs::absolute(sweep.path).string()),
                                   cat("PSCALE_BIN=", program_folder().string()), "sbatch",
                                   cat("--array=", join(indices, ","))};
  for (std::string& flag : boost::program_options::split_unix(flags)) command.push_back(std::move(flag));
  command.push_back(chosen.string());
  command.insert(command.end(), overrides.begin(), overrides.end());
  return command;
}

}  // namespace pscale
