#include "core/base/config_print.h"

#include <nlohmann/json.hpp>

#include "core/base/config_assign.h"
#include "core/base/config_text.h"
#include "core/base/errors.h"

namespace pscale {
namespace {

template <class T>
std::string text_of(const T& value) {
  return toml_text(value);
}

template <class T>
std::string text_of(const std::vector<T>& values) {
  std::vector<std::string> parts;
  for (const T& value : values) parts.push_back(toml_text(value));
  return cat("[", join(parts, ", "), "]");
}

std::string text_of(const WeightedPaths& values) { return toml_text(values); }

template <class T>
std::string text_of(const std::optional<T>& value) {
  return value ? text_of(*value) : "";
}

template <class T>
nlohmann::ordered_json json_of(const T& value) {
  return value;
}

nlohmann::ordered_json json_of(const WeightedPaths& values) {
  nlohmann::ordered_json list = nlohmann::ordered_json::array();
  for (const WeightedPath& item : values) {
    list.push_back({{"path", item.path}});
    if (item.weight) list.back()["weight"] = *item.weight;
  }
  return list;
}

template <class T>
nlohmann::ordered_json json_of(const std::optional<T>& value) {
  return value ? json_of(*value) : nlohmann::ordered_json(nullptr);
}

/// As TOML; empty for an absent value, which TOML cannot say.
std::string value_text(const ConfigTarget& target) {
  return std::visit([](const auto* value) { return text_of(*value); }, target);
}

std::string comment(const ConfigField& field) {
  const std::string rule = field.rule.text();
  return cat(field.help, rule.empty() ? "" : cat(" (", rule, ")"));
}

void print_section(const ConfigSection& section, std::string& out) {
  if (!out.empty()) out += '\n';
  if (!section.help().empty()) out += cat("# ", section.help(), "\n");
  out += cat("[", section.name(), "]\n");
  for (const ConfigField& field : section.fields()) {
    if (!field.rule.printed) continue;
    const std::string value = value_text(field.target);
    out += cat("# ", comment(field), "\n");
    out += value.empty() ? cat("# ", field.key, ": none\n") : cat(field.key, " = ", value, "\n");
  }
  for (const ConfigSection& table : section.tables()) print_section(table, out);
}

std::string escaped(std::string text) {
  for (size_t at = 0; (at = text.find('|', at)) != std::string::npos; at += 2) text.insert(at, "\\");
  return text;
}

void print_reference(const ConfigSection& section, std::string& out) {
  out += cat(out.empty() ? "" : "\n", "### [", section.name(), "]\n\n");
  if (!section.help().empty()) out += section.help() + ".\n\n";
  out += "| key | type | default | meaning |\n| --- | --- | --- | --- |\n";
  for (const ConfigField& field : section.fields()) {
    const std::string value = field.rule.required ? "" : value_text(field.target);
    const std::string shown = field.rule.required ? "needed" : value.empty() ? "none" : cat("`", value, "`");
    out += cat("| `", field.key, "` | ", type_name(field.target), " | ", shown, " | ",
               escaped(comment(field)), " |\n");
  }
  for (const ConfigSection& table : section.tables()) print_reference(table, out);
}

}  // namespace

std::string config_toml(const std::vector<ConfigSection>& sections) {
  std::string out;
  for (const ConfigSection& section : sections) print_section(section, out);
  return out;
}

void write_json(const ConfigSection& section, nlohmann::ordered_json& json) {
  for (const ConfigField& field : section.fields()) {
    if (!field.rule.printed) continue;
    json[field.key] = std::visit([](const auto* value) { return json_of(*value); }, field.target);
  }
  for (const ConfigSection& table : section.tables()) {
    nlohmann::ordered_json member = nlohmann::ordered_json::object();
    write_json(table, member);
    json[table.name().substr(table.name().rfind('.') + 1)] = std::move(member);
  }
}

std::string config_reference(const std::vector<ConfigSection>& sections) {
  std::string out;
  for (const ConfigSection& section : sections) print_reference(section, out);
  return out;
}

}  // namespace pscale
