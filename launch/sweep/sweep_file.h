// A sweep as its file declares it; sweep_points.h makes runs of it.
//
//   [sweep]
//   base = "../xattn.toml"        # relative to this file
//   dir = "runs/lr"               # runs/NAME.toml's stem where it is not given
//
//   [fixed]                       # the same in all runs
//   train.max_steps = 2000
//
//   [grid]                        # a list of values for each key: every combination is a point
//   parscale.parscale_n = [1, 4]
//
//   [[variant]]                   # named sets; each point of the grid is taken with each of them
//   name = "frozen"
//   train.freeze_pretrained = true
//
//   [[drop]]                      # points where all of this holds are left out
//   because = "a single replica has nobody to attend to"
//   parscale.parscale_n = 1                          # a value, a list of them, or one of
//   parscale.parscale_n_tokens = {above = 0}         # above, below, not
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "core/base/config_value.h"

namespace pscale {

/// A key with its dots, "parscale.parscale_n", and what it is set to.
struct Assignment {
  std::string key;
  ConfigValue value;
};

struct GridAxis {
  std::string key;
  ConfigArray values;  ///< at least one, no two equal
};

struct Variant {
  std::string name;
  std::vector<Assignment> values;
};

/// What one key must be for a rule to hold: one of `values`, or what the bounds say.
struct DropCondition {
  std::string key;
  ConfigArray values;  ///< none where there are bounds
  std::optional<double> above, below;
  std::optional<ConfigValue> unlike;
};

struct DropRule {
  std::string because;
  std::vector<DropCondition> conditions;
};

struct Sweep {
  std::filesystem::path path;  ///< of the file
  std::string name;            ///< its name without .toml
  std::filesystem::path base;  ///< the configuration that all runs start from
  std::filesystem::path dir;   ///< its runs, each in a folder of its own
  std::vector<Assignment> fixed;
  std::vector<GridAxis> grid;
  std::vector<Variant> variants;  ///< none: the grid alone
  std::vector<DropRule> drops;
};

/// Reads a sweep. `overrides` are section.key=value of the command line: sweep.dir, or keys of all runs, over
/// [fixed]. Whether the keys exist and the values fit shows when the points are made. Throws UserError with
/// all problems, each with file, line and key.
Sweep read_sweep(const std::filesystem::path& path, const std::vector<std::string>& overrides);

/// The leaves of a table in the order of their lines, each under its dotted name.
std::vector<Assignment> flattened(const ConfigTable& table);

/// Sets a dotted key, making the tables on the way.
void set_key(ConfigTable& table, const std::string& key, const ConfigValue& value);

/// The value of a dotted key; null where there is none.
const ConfigValue* find_key(const ConfigTable& table, const std::string& key);

}  // namespace pscale
