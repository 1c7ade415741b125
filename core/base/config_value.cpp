#include "core/base/config_value.h"

#include <algorithm>
#include <limits>
#include <nlohmann/json.hpp>

#include "core/base/config_text.h"
#include "core/base/errors.h"

namespace pscale {

std::string ConfigLocation::text() const { return line > 0 ? cat(source, ":", line) : source; }

ConfigValue& ConfigTable::operator[](const std::string& key) {
  if (ConfigValue* value = find(key)) return *value;
  return entries_.emplace_back(key, ConfigValue{}).second;
}

void ConfigTable::erase(std::string_view key) {
  std::erase_if(entries_, [&](const Entry& entry) { return entry.first == key; });
}

namespace {

std::string inline_text(const ConfigTable& table) {
  std::vector<std::string> parts;
  for (const auto& [key, value] : table.entries()) parts.push_back(cat(key, " = ", value.text()));
  return cat("{", join(parts, ", "), "}");
}

}  // namespace

std::string ConfigValue::text() const {
  struct Text {
    std::string operator()(std::monostate) const { return "null"; }
    std::string operator()(bool value) const { return value ? "true" : "false"; }
    std::string operator()(int64_t value) const { return cat(value); }
    std::string operator()(double value) const { return toml_text(value); }
    std::string operator()(const std::string& value) const { return toml_text(value); }
    std::string operator()(const ConfigArray& values) const {
      std::vector<std::string> parts;
      for (const ConfigValue& value : values) parts.push_back(value.table() ? inline_text(*value.table()) : value.text());
      return cat("[", join(parts, ", "), "]");
    }
    std::string operator()(const ConfigTable&) const { return "a table"; }
  };
  return std::visit(Text{}, data);
}

void merge(ConfigTable& earlier, const ConfigTable& later) {
  for (const auto& [key, value] : later.entries()) {
    ConfigValue& into = earlier[key];
    if (value.table() && into.table()) {
      merge(*into.table(), *value.table());
      into.location = value.location;
    } else {
      into = value;
    }
  }
}

namespace {

ConfigValue value_from_json(const nlohmann::ordered_json& json, const ConfigLocation& location) {
  using Type = nlohmann::ordered_json::value_t;
  ConfigValue value{{}, location, {}};
  switch (json.type()) {
    case Type::boolean: value.data = json.get<bool>(); break;
    case Type::number_integer: value.data = json.get<int64_t>(); break;
    case Type::number_unsigned:
      if (json.get<uint64_t>() <= static_cast<uint64_t>(std::numeric_limits<int64_t>::max())) {
        value.data = json.get<int64_t>();
      } else {
        value.data = json.get<double>();
      }
      break;
    case Type::number_float: value.data = json.get<double>(); break;
    case Type::string: value.data = json.get<std::string>(); break;
    case Type::array: {
      ConfigArray values;
      for (const auto& item : json) values.push_back(value_from_json(item, location));
      value.data = std::move(values);
      break;
    }
    case Type::object: {
      ConfigTable table;
      for (const auto& [key, item] : json.items()) table[key] = value_from_json(item, location);
      value.data = std::move(table);
      break;
    }
    default: break;
  }
  return value;
}

}  // namespace

ConfigTable table_from_json(const nlohmann::ordered_json& json, const std::string& source) {
  if (!json.is_object()) throw UserError(cat(source, ": must be a JSON object, not ", json.type_name()));
  return std::move(*value_from_json(json, {source, 0}).table());
}

ConfigTable parse_json(const std::string& text, const std::string& source) {
  nlohmann::ordered_json json;
  try {
    json = nlohmann::ordered_json::parse(text);
  } catch (const nlohmann::json::parse_error& error) {
    const auto end = text.begin() + static_cast<std::ptrdiff_t>(std::min(error.byte, text.size()));
    throw UserError(cat(source, ":", 1 + std::count(text.begin(), end, '\n'), ": is not well-formed JSON"));
  }
  return table_from_json(json, source);
}

}  // namespace pscale
