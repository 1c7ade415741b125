// The only file that includes toml++.
#include <toml++/toml.h>

#include <algorithm>
#include <sstream>

#include "core/base/config_value.h"
#include "core/base/errors.h"

namespace pscale {
namespace {

ConfigValue convert(const toml::node& node, const std::string& source) {
  ConfigValue value{{}, {source, static_cast<int>(node.source().begin.line)}, {}};
  if (const auto* boolean = node.as_boolean()) {
    value.data = boolean->get();
  } else if (const auto* integer = node.as_integer()) {
    value.data = integer->get();
  } else if (const auto* number = node.as_floating_point()) {
    value.data = number->get();
  } else if (const auto* text = node.as_string()) {
    value.data = text->get();
  } else if (const auto* array = node.as_array()) {
    ConfigArray values;
    for (const toml::node& item : *array) values.push_back(convert(item, source));
    value.data = std::move(values);
  } else if (const auto* table = node.as_table()) {
    // toml++ keeps keys sorted; the order of the lines is the order of the messages.
    std::vector<std::pair<const toml::key*, const toml::node*>> entries;
    for (const auto& [key, item] : *table) entries.emplace_back(&key, &item);
    std::stable_sort(entries.begin(), entries.end(), [](const auto& a, const auto& b) {
      return a.first->source().begin < b.first->source().begin;
    });
    ConfigTable into;
    for (const auto& [key, item] : entries) {
      ConfigValue& entry = into[std::string(key->str())];
      entry = convert(*item, source);
      entry.location.line = static_cast<int>(key->source().begin.line);
    }
    value.data = std::move(into);
  } else {
    std::ostringstream text;
    node.visit([&](const auto& other) {
      if constexpr (!toml::is_array<decltype(other)> && !toml::is_table<decltype(other)>) text << *other;
    });
    value.data = text.str();
  }
  return value;
}

bool is_bare_key(std::string_view key) {
  return !key.empty() &&
         key.find_first_not_of("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-") ==
             std::string_view::npos;
}

std::string trimmed(std::string_view text) {
  const size_t first = text.find_first_not_of(" \t");
  if (first == std::string_view::npos) return "";
  return std::string(text.substr(first, text.find_last_not_of(" \t") - first + 1));
}

ConfigValue override_value(const std::string& argument, const std::string& typed) {
  ConfigValue value{typed, {"command line", 0}, typed};
  if (typed.empty() || typed.find_first_of("\n\r#") != std::string::npos) return value;
  try {
    const toml::table parsed = toml::parse("x = " + typed + "\n");
    ConfigValue whole = convert(parsed, "command line");
    // A date is text here: there is no key that wants one.
    const toml::node* node = parsed.get("x");
    if (!node->is_date() && !node->is_time() && !node->is_date_time())
      value.data = std::move(whole.table()->find("x")->data);
  } catch (const toml::parse_error& error) {
    if (std::string_view("\"'[{").find(typed.front()) != std::string_view::npos)
      throw UserError(
          cat("command line: ", argument, ": the value is not well-formed TOML: ", error.description()));
  }
  return value;
}

void forget_lines(ConfigValue& value) {
  value.location = {"command line", 0};
  if (auto* array = std::get_if<ConfigArray>(&value.data))
    for (ConfigValue& item : *array) forget_lines(item);
  if (auto* table = value.table()) {
    ConfigTable copy;
    for (const auto& [key, item] : table->entries()) forget_lines(copy[key] = item);
    *table = std::move(copy);
  }
}

}  // namespace

ConfigTable parse_toml(const std::string& text, const std::string& source) {
  try {
    return std::move(*convert(toml::parse(text), source).table());
  } catch (const toml::parse_error& error) {
    throw UserError(cat(source, ":", error.source().begin.line, ": ", error.description()));
  }
}

ConfigTable parse_override(const std::string& argument) {
  const auto malformed = [&](const char* why) {
    return UserError(cat("command line: \"", argument, "\" ", why,
                         "; write section.key=value, such as train.max_steps=100"));
  };
  const size_t equals = argument.find('=');
  if (equals == std::string::npos) throw malformed("has no '='");
  std::vector<std::string> keys;
  std::istringstream path(trimmed(std::string_view(argument).substr(0, equals)) + ".");
  for (std::string key; std::getline(path, key, '.');) keys.push_back(trimmed(key));
  if (keys.size() < 2) throw malformed("names no section");
  for (const std::string& key : keys)
    if (!is_bare_key(key)) throw malformed("names no key");

  ConfigValue value = override_value(argument, trimmed(std::string_view(argument).substr(equals + 1)));
  forget_lines(value);
  ConfigTable table;
  ConfigTable* into = &table;
  for (size_t i = 0; i + 1 < keys.size(); ++i) {
    ConfigValue& entry = (*into)[keys[i]];
    entry = {ConfigTable{}, {"command line", 0}, {}};
    into = entry.table();
  }
  (*into)[keys.back()] = std::move(value);
  return table;
}

}  // namespace pscale
