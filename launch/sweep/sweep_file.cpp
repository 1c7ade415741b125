#include "launch/sweep/sweep_file.h"

#include <algorithm>

#include "core/base/config.h"
#include "core/base/config_text.h"
#include "core/base/errors.h"

namespace pscale {
namespace {

namespace fs = std::filesystem;

const std::vector<std::string> kSections{"sweep", "fixed", "grid", "variant", "drop"};

std::string place(const ConfigValue& value) {
  const std::string text = value.location.text();
  return text.empty() ? text : text + ": ";
}

void flatten(const ConfigTable& table, const std::string& prefix, std::vector<Assignment>& into) {
  for (const auto& [key, value] : table.entries()) {
    if (value.table())
      flatten(*value.table(), prefix + key + ".", into);
    else
      into.push_back({prefix + key, value});
  }
}

/// Collects the parts of one sweep file and what is wrong with them.
class Reader {
 public:
  explicit Reader(std::vector<std::string>& problems) : problems_(problems) {}

  std::vector<GridAxis> grid(const ConfigTable& table) {
    std::vector<GridAxis> axes;
    for (const Assignment& given : flattened(table)) {
      const auto* values = std::get_if<ConfigArray>(&given.value.data);
      if (!settable(given, "grid")) continue;
      if (!values || values->empty()) {
        say(given.value, cat("grid.", given.key, " = ", given.value.text(),
                             " must be a list of values; a single one belongs in [fixed]"));
        continue;
      }
      for (size_t i = 0; i < values->size(); ++i)
        for (size_t k = 0; k < i; ++k)
          if ((*values)[i].text() == (*values)[k].text())
            say(given.value,
                cat("grid.", given.key, " names ", (*values)[i].text(), " twice; once is enough"));
      axes.push_back({given.key, *values});
    }
    return axes;
  }

  std::vector<Assignment> fixed(const ConfigTable& table) {
    std::vector<Assignment> all = flattened(table);
    std::erase_if(all, [&](const Assignment& given) { return !settable(given, "fixed"); });
    return all;
  }

  std::vector<Variant> variants(const ConfigValue& value) {
    std::vector<Variant> all;
    for (const ConfigTable* table : tables(value, "variant")) {
      Variant variant;
      for (const Assignment& given : flattened(*table)) {
        const auto* name = std::get_if<std::string>(&given.value.data);
        if (given.key == "name" && name && !name->empty())
          variant.name = *name;
        else if (given.key == "name")
          say(given.value, cat("variant.name = ", given.value.text(), " must be text in quotes"));
        else if (settable(given, "variant"))
          variant.values.push_back(given);
      }
      if (variant.name.empty() && !table->find("name"))
        say(value, "variant.name is missing: it names the runs' folders");
      for (const Variant& other : all)
        if (!variant.name.empty() && other.name == variant.name)
          say(*table->find("name"),
              cat("variant.name = \"", variant.name, "\" is given twice; names must differ"));
      all.push_back(std::move(variant));
    }
    return all;
  }

  std::vector<DropRule> drops(const ConfigValue& value) {
    std::vector<DropRule> all;
    for (const ConfigTable* table : tables(value, "drop")) {
      DropRule rule;
      for (const auto& [key, item] : table->entries()) {
        if (key != "because") {
          if (item.table())
            conditions(*item.table(), key + ".", rule);
          else
            say(item, cat("drop.", key, " is unknown; a rule has `because` and section.key conditions"));
        } else if (const auto* text = std::get_if<std::string>(&item.data); text && !text->empty()) {
          rule.because = *text;
        } else {
          say(item, cat("drop.because = ", item.text(), " must be text in quotes"));
        }
      }
      if (!table->find("because"))
        say(value, "drop.because is missing: the listing says it for each point that is left out");
      if (rule.conditions.empty())
        say(value,
            "a [[drop]] without a condition would leave out every point; give it a section.key = value");
      all.push_back(std::move(rule));
    }
    return all;
  }

  void say(const ConfigValue& at, const std::string& what) { problems_.push_back(place(at) + what); }

 private:
  std::vector<const ConfigTable*> tables(const ConfigValue& value, const std::string& name) {
    std::vector<const ConfigTable*> found;
    const auto* items = std::get_if<ConfigArray>(&value.data);
    if (items)
      for (const ConfigValue& item : *items)
        if (item.table()) found.push_back(item.table());
    if (!items || found.size() != items->size())
      say(value, cat(name, " must be written [[", name, "]], once for each"));
    return found;
  }

  bool settable(const Assignment& given, const std::string& where) {
    if (given.key == "run.dir") {
      say(given.value, cat(where, ".run.dir: a sweep names the folders of its runs itself; set sweep.dir"));
      return false;
    }
    if (given.key.find('.') != std::string::npos) return true;
    say(given.value,
        cat(where, ".", given.key, " names no section; write section.key, such as train.max_steps"));
    return false;
  }

  /// A table of above, below and not is a condition; any other holds more keys.
  void conditions(const ConfigTable& table, const std::string& prefix, DropRule& rule) {
    for (const auto& [key, item] : table.entries()) {
      DropCondition condition{prefix + key, {}, {}, {}, {}};
      if (const ConfigTable* inner = item.table()) {
        if (!inner->find("above") && !inner->find("below") && !inner->find("not")) {
          conditions(*inner, prefix + key + ".", rule);
          continue;
        }
        for (const auto& [word, bound] : inner->entries()) {
          const auto* whole = std::get_if<int64_t>(&bound.data);
          const auto* real = std::get_if<double>(&bound.data);
          if (word == "not")
            condition.unlike = bound;
          else if ((word == "above" || word == "below") && (whole || real))
            (word == "above" ? condition.above : condition.below) =
                whole ? static_cast<double>(*whole) : *real;
          else
            say(bound,
                cat("drop.", prefix, key, ".", word, " = ", bound.text(),
                    word == "above" || word == "below" ? " must be a number"
                                                       : " is unknown; the words are above, below, not"));
        }
      } else {
        condition.values = {item};
        if (const auto* items = std::get_if<ConfigArray>(&item.data))
          condition.values.insert(condition.values.end(), items->begin(), items->end());
      }
      rule.conditions.push_back(std::move(condition));
    }
  }

  std::vector<std::string>& problems_;
};

/// A key that is set in two places of one run would leave the reader guessing.
void check_once(const Sweep& sweep, const Sweep& file, Reader& reader) {
  for (const GridAxis& axis : sweep.grid) {
    const auto same = [&](const Assignment& other) { return other.key == axis.key; };
    for (const std::vector<Assignment>* fixed : {&sweep.fixed, &file.fixed})
      if (const auto found = std::find_if(fixed->begin(), fixed->end(), same); found != fixed->end()) {
        reader.say(found->value, cat(axis.key, " is fixed, but [grid] sweeps it; keep one of the two"));
        break;
      }
    for (const Variant& variant : sweep.variants)
      if (const auto found = std::find_if(variant.values.begin(), variant.values.end(), same);
          found != variant.values.end())
        reader.say(found->value, cat(axis.key, " is set by variant \"", variant.name,
                                     "\", but [grid] sweeps it; keep one of the two"));
  }
}

}  // namespace

std::vector<Assignment> flattened(const ConfigTable& table) {
  std::vector<Assignment> all;
  flatten(table, "", all);
  std::stable_sort(all.begin(), all.end(), [](const Assignment& a, const Assignment& b) {
    return a.value.location.line < b.value.location.line;
  });
  return all;
}

void set_key(ConfigTable& table, const std::string& key, const ConfigValue& value) {
  const size_t dot = key.find('.');
  ConfigValue& entry = table[key.substr(0, dot)];
  if (dot == std::string::npos) {
    entry = value;
    return;
  }
  if (!entry.table()) entry = {ConfigTable{}, value.location, {}};
  set_key(*entry.table(), key.substr(dot + 1), value);
}

const ConfigValue* find_key(const ConfigTable& table, const std::string& key) {
  const size_t dot = key.find('.');
  const ConfigValue* entry = table.find(key.substr(0, dot));
  if (!entry || dot == std::string::npos) return entry;
  return entry->table() ? find_key(*entry->table(), key.substr(dot + 1)) : nullptr;
}

Sweep read_sweep(const fs::path& path, const std::vector<std::string>& overrides) {
  std::vector<std::string> problems;
  ConfigTable values = read_config_file(path.string(), problems);
  if (!problems.empty()) throw UserError(std::move(problems));

  Sweep sweep;
  sweep.path = path;
  sweep.name = path.stem().string();
  Reader reader(problems);
  const ConfigTable nothing;
  const auto section = [&](const char* name) -> const ConfigTable& {
    const ConfigValue* value = values.find(name);
    if (value && !value->table())
      reader.say(*value, cat(name, " = ", value->text(), " must be a table: [", name, "]"));
    return value && value->table() ? *value->table() : nothing;
  };
  for (const auto& [name, value] : values.entries()) {
    if (std::find(kSections.begin(), kSections.end(), name) != kSections.end()) continue;
    const std::string near = nearest(name, kSections);
    reader.say(value, cat("there is no section [", name, "] in a sweep; ",
                          near.empty() ? cat("the sections are ", join(kSections, ", "),
                                             "; keys of all runs belong in [fixed]")
                                       : cat("did you mean [", near, "]?")));
  }
  sweep.fixed = reader.fixed(section("fixed"));
  sweep.grid = reader.grid(section("grid"));
  if (const ConfigValue* variants = values.find("variant")) sweep.variants = reader.variants(*variants);
  if (const ConfigValue* drops = values.find("drop")) sweep.drops = reader.drops(*drops);

  ConfigTable own, typed;
  if (!section("sweep").entries().empty()) own["sweep"] = *values.find("sweep");
  for (const std::string& argument : overrides) {
    try {
      const ConfigTable parsed = parse_override(argument);
      merge(parsed.find("sweep") ? own : typed, parsed);
    } catch (const UserError& malformed) {
      problems.insert(problems.end(), malformed.problems().begin(), malformed.problems().end());
    }
  }
  const Sweep file = sweep;
  for (Assignment& given : reader.fixed(typed)) {
    const auto same = [&](const Assignment& other) { return other.key == given.key; };
    std::erase_if(sweep.fixed, same);
    for (Variant& variant : sweep.variants)
      if (std::any_of(variant.values.begin(), variant.values.end(), same))
        reader.say(given.value, cat(given.key, " is set by variant \"", variant.name,
                                    "\"; the command line can set what all runs share"));
    sweep.fixed.push_back(std::move(given));
  }
  check_once(sweep, file, reader);

  std::string base, dir = "runs/" + sweep.name;
  std::vector<ConfigSection> sections;
  sections.emplace_back("sweep").add("base", base, "The configuration that all runs start from", required());
  sections.back().add("dir", dir, "Folder of the runs");
  ConfigOrigins origins;
  read_sections(sections, own, {}, origins, problems);
  for (std::string& problem : problems)
    if (problem.starts_with("sweep.base is missing")) problem = cat(path.string(), ": ", problem);
  if (dir.empty()) problems.push_back(cat(origins.name("sweep.dir"), " is empty; name a folder"));
  if (!problems.empty()) throw UserError(std::move(problems));
  // A base on the command line is relative to where the user is, as every path there.
  const bool from_file = origins.name("sweep.base").starts_with(path.string());
  sweep.base = (from_file ? path.parent_path() / base : fs::path(base)).lexically_normal();
  sweep.dir = dir;
  return sweep;
}

}  // namespace pscale
