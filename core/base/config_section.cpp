#include "core/base/config_section.h"

#include "core/base/text.h"

namespace pscale {

std::string ConfigRule::text() const {
  if (!choices.empty()) return cat("one of ", join(choices, ", "));
  std::vector<std::string> parts;
  if (least) parts.push_back(cat(above_least ? "above " : "at least ", *least));
  if (most) parts.push_back(cat(below_most ? "below " : "at most ", *most));
  return join(parts, " and ");
}

ConfigRule at_least(double least) { return {.least = least}; }
ConfigRule above(double least) { return {.least = least, .above_least = true}; }
ConfigRule between(double least, double most) { return {.least = least, .most = most}; }
ConfigRule at_least_below(double least, double most) {
  return {.least = least, .most = most, .below_most = true};
}
ConfigRule one_of(std::vector<std::string> choices) { return {.choices = std::move(choices)}; }

ConfigRule required(ConfigRule rule) {
  rule.required = true;
  return rule;
}

ConfigRule only_read(ConfigRule rule) {
  rule.printed = false;
  return rule;
}

ConfigRule also_called(std::vector<std::string> aliases, ConfigRule rule) {
  rule.aliases = std::move(aliases);
  return rule;
}

ConfigSection& ConfigSection::add_table(const std::string& key, std::string help,
                                        std::vector<std::string> aliases) {
  ConfigSection& table = tables_.emplace_back(name_.empty() ? key : name_ + "." + key);
  table.help_ = std::move(help);
  table.aliases_ = std::move(aliases);
  return table;
}

std::vector<std::string> ConfigSection::keys() const {
  std::vector<std::string> keys;
  for (const ConfigField& field : fields_) keys.push_back(field.key);
  for (const ConfigSection& table : tables_) keys.push_back(table.name().substr(table.name().rfind('.') + 1));
  return keys;
}

}  // namespace pscale
