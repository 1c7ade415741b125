#include "launch/sweep/sweep_points.h"

#include <algorithm>
#include <map>

#include "core/base/config_text.h"
#include "core/base/errors.h"
#include "launch/sweep/run_name.h"

namespace pscale {
namespace {

bool equal(const ConfigValue& a, const ConfigValue& b) {
  const auto number = [](const ConfigValue& value) -> std::optional<double> {
    if (const auto* whole = std::get_if<int64_t>(&value.data)) return static_cast<double>(*whole);
    if (const auto* real = std::get_if<double>(&value.data)) return *real;
    return std::nullopt;
  };
  if (number(a) && number(b)) return *number(a) == *number(b);
  return a.text() == b.text();
}

/// Whether a condition holds for the value of its key. A key without a value has no bounds and differs from
/// everything.
bool holds(const DropCondition& condition, const ConfigValue* value) {
  if (!condition.values.empty())
    return value && std::any_of(condition.values.begin(), condition.values.end(),
                                [&](const ConfigValue& v) { return equal(v, *value); });
  std::optional<double> number;
  if (value) {
    if (const auto* whole = std::get_if<int64_t>(&value->data)) number = static_cast<double>(*whole);
    if (const auto* real = std::get_if<double>(&value->data)) number = *real;
  }
  if (condition.above && !(number && *number > *condition.above)) return false;
  if (condition.below && !(number && *number < *condition.below)) return false;
  return !condition.unlike || !value || !equal(*condition.unlike, *value);
}

std::vector<std::string> key_names(const ConfigSection& section) {
  std::vector<std::string> names;
  for (const ConfigField& field : section.fields()) names.push_back(section.name() + "." + field.key);
  for (const ConfigSection& table : section.tables())
    for (std::string& name : key_names(table)) names.push_back(std::move(name));
  return names;
}

/// Rules that name a key which no configuration has would never drop anything.
void check_rules(const Sweep& sweep, std::vector<std::string>& problems) {
  Config defaults;
  std::vector<std::string> known;
  for (const ConfigSection& section : defaults.sections())
    for (std::string& name : key_names(section)) known.push_back(std::move(name));
  for (const DropRule& rule : sweep.drops)
    for (const DropCondition& condition : rule.conditions) {
      if (std::find(known.begin(), known.end(), condition.key) != known.end()) continue;
      const std::string near = nearest(condition.key, known);
      const std::string at =
          condition.values.empty() ? sweep.path.string() : condition.values[0].location.text();
      problems.push_back(cat(at, ": drop.", condition.key, " is unknown",
                             near.empty() ? "" : cat("; did you mean ", near, "?")));
    }
}

/// The values that no source gives, for rules that ask for them.
ConfigTable default_values() {
  Config defaults;
  return parse_toml(config_toml(defaults.sections()), "");
}

/// Advances a counter with one digit for each axis, the last the fastest. False after the last combination.
bool advance(std::vector<size_t>& at, const std::vector<GridAxis>& grid) {
  for (size_t k = grid.size(); k-- > 0;) {
    if (++at[k] < grid[k].values.size()) return true;
    at[k] = 0;
  }
  return false;
}

/// One point before it is known whether it runs.
struct Point {
  SweepRun run;
  ConfigTable given;   ///< what the sweep sets
  std::string values;  ///< the same as text: two points with equal values are one run
};

std::vector<Point> points_of(const Sweep& sweep) {
  std::vector<Variant> variants = sweep.variants;
  if (variants.empty()) variants.push_back({});
  std::vector<Point> points;
  for (const Variant& variant : variants) {
    std::vector<size_t> at(sweep.grid.size());
    do {
      Point point;
      point.run.variant = variant.name;
      for (const Assignment& fixed : sweep.fixed) set_key(point.given, fixed.key, fixed.value);
      for (const Assignment& own : variant.values) set_key(point.given, own.key, own.value);
      for (size_t k = 0; k < sweep.grid.size(); ++k) {
        point.run.swept.emplace_back(sweep.grid[k].key, sweep.grid[k].values[at[k]]);
        set_key(point.given, sweep.grid[k].key, sweep.grid[k].values[at[k]]);
      }
      point.run.name = name_of_run(variant.name, point.run.swept);
      for (const Assignment& set : flattened(point.given))
        point.run.overrides.push_back(cat(set.key, "=", set.value.text()));
      std::vector<std::string> sorted = point.run.overrides;
      std::sort(sorted.begin(), sorted.end());
      point.values = join(sorted, "\n");
      const std::string folder = (sweep.dir / point.run.name).string();
      set_key(point.given, "run.dir", {folder, {"", 0}, {}});
      point.run.overrides.push_back("run.dir=" + folder);
      points.push_back(std::move(point));
    } while (advance(at, sweep.grid));
  }
  return points;
}

/// Problems that several points share are said once, with the first point they concern.
class PointProblems {
 public:
  void add(const std::string& problem, const std::string& point) {
    auto [found, added] = points_.try_emplace(problem);
    if (added) order_.push_back(problem);
    found->second.push_back(point);
  }
  void move_to(std::vector<std::string>& problems, size_t points) const {
    for (const std::string& problem : order_) {
      const std::vector<std::string>& where = points_.at(problem);
      if (where.size() == points)
        problems.push_back(problem);
      else
        problems.push_back(cat(problem, " [in run ", where[0],
                               where.size() > 1 ? cat(" and ", where.size() - 1, " more") : "",
                               "; change it, or leave such points out with a [[drop]]]"));
    }
  }

 private:
  std::map<std::string, std::vector<std::string>> points_;
  std::vector<std::string> order_;
};

}  // namespace

SweepRuns expand(const Sweep& sweep) {
  std::vector<std::string> problems;
  const ConfigTable base = read_config_file(sweep.base.string(), problems);
  if (!problems.empty()) {
    for (std::string& problem : problems) problem = cat(sweep.path.string(), ": sweep.base: ", problem);
    throw UserError(std::move(problems));
  }
  check_rules(sweep, problems);
  const ConfigTable defaults = default_values();

  SweepRuns result;
  PointProblems broken;
  std::map<std::string, std::string> by_values, by_name;
  std::vector<Point> points = points_of(sweep);
  size_t checked = 0;
  for (Point& point : points) {
    ConfigTable values = base;
    merge(values, point.given);
    const auto rule = std::find_if(sweep.drops.begin(), sweep.drops.end(), [&](const DropRule& drop) {
      return !drop.conditions.empty() &&
             std::all_of(drop.conditions.begin(), drop.conditions.end(), [&](const DropCondition& c) {
               const ConfigValue* given = find_key(values, c.key);
               return holds(c, given ? given : find_key(defaults, c.key));
             });
    });
    if (rule != sweep.drops.end()) {
      result.dropped.push_back({point.run.name, rule->because});
      continue;
    }
    ++checked;
    if (const auto [same, added] = by_values.emplace(point.values, point.run.name); !added)
      problems.push_back(cat(sweep.path.string(), ": ", same->second, " and ", point.run.name,
                             " are the same run; take one of them out"));
    else if (!by_name.emplace(point.run.name, point.values).second)
      problems.push_back(cat(sweep.path.string(), ": two different runs would be named ", point.run.name,
                             "; write their values less alike"));
    try {
      point.run.config = load_config(std::move(values));
    } catch (const UserError& invalid) {
      for (const std::string& problem : invalid.problems()) broken.add(problem, point.run.name);
      continue;
    }
    point.run.index = static_cast<int64_t>(result.runs.size());
    result.runs.push_back(std::move(point.run));
  }
  broken.move_to(problems, checked);
  if (problems.empty() && result.runs.empty())
    problems.push_back(cat(sweep.path.string(), ": the [[drop]] rules leave no run"));
  if (!problems.empty()) throw UserError(std::move(problems));
  return result;
}

}  // namespace pscale
