// A configuration value with the place it was written at: what TOML, JSON and the command line are turned
// into before any of it is understood. The typed reader (core/base/config_read.h) is its user; sections never
// see it.
#pragma once

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

namespace pscale {

struct ConfigLocation {
  std::string source;  ///< a file as the user named it, "command line", or empty for a default
  int line = 0;        ///< from 1; 0 where lines are not known
  /// "FILE:LINE", "FILE", "command line" or "".
  std::string text() const;
};

struct ConfigValue;
using ConfigArray = std::vector<ConfigValue>;

/// Keys in the order they were written.
class ConfigTable {
 public:
  using Entry = std::pair<std::string, ConfigValue>;
  const ConfigValue* find(std::string_view key) const;
  ConfigValue* find(std::string_view key);
  /// The value of `key`, made null where there is none.
  ConfigValue& operator[](const std::string& key);
  void erase(std::string_view key);
  const std::vector<Entry>& entries() const { return entries_; }

 private:
  std::vector<Entry> entries_;
};

struct ConfigValue {
  /// monostate: null. Dates of TOML come as text.
  std::variant<std::monostate, bool, int64_t, double, std::string, ConfigArray, ConfigTable> data;
  ConfigLocation location;
  /// On the command line, the characters behind `=`: a text value may look like a number.
  std::optional<std::string> typed;

  bool is_null() const { return std::holds_alternative<std::monostate>(data); }
  const ConfigTable* table() const { return std::get_if<ConfigTable>(&data); }
  ConfigTable* table() { return std::get_if<ConfigTable>(&data); }
  /// The value as a message shows it: `"text"`, `12`, `[1, 2]`, `[{a = 1}]`, `a table`.
  std::string text() const;
};

inline const ConfigValue* ConfigTable::find(std::string_view key) const {
  for (const Entry& entry : entries_)
    if (entry.first == key) return &entry.second;
  return nullptr;
}

inline ConfigValue* ConfigTable::find(std::string_view key) {
  return const_cast<ConfigValue*>(std::as_const(*this).find(key));
}

/// Lays `later` over `earlier`: tables are merged key by key, everything else is replaced.
void merge(ConfigTable& earlier, const ConfigTable& later);

/// Parses TOML. Throws UserError "SOURCE:LINE: ..." where it is not well-formed.
ConfigTable parse_toml(const std::string& text, const std::string& source);

/// Parses a `section.key=value` of the command line: the value is TOML, and text where it is not.
/// Throws UserError where there is no section, key or `=`, or where a quoted text, list or table is not
/// well-formed.
ConfigTable parse_override(const std::string& argument);

/// A JSON object. Throws UserError where `json` is none.
ConfigTable table_from_json(const nlohmann::ordered_json& json, const std::string& source);

/// Parses JSON text that must be an object. Throws UserError that names `source`.
ConfigTable parse_json(const std::string& text, const std::string& source);

}  // namespace pscale
