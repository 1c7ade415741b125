// One declaration per configuration key. A section's struct lists its keys once, in
//
//   void OptimizerConfig::describe(ConfigSection& section) {
//     section.add("learning_rate", learning_rate, "Peak learning rate", above(0));
//   }
//
// and everything is derived from that: reading from TOML, the command line and JSON, types and ranges,
// unknown keys, the resolved file, JSON for Hugging Face, the list of keys in the documentation. Any layer
// declares its own section.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <variant>
#include <vector>

namespace pscale {

/// What a value must be besides its type. Numbers in lists are held against it one by one.
struct ConfigRule {
  std::optional<double> least, most;
  bool above_least = false;  ///< `least` itself is not allowed
  bool below_most = false;   ///< `most` itself is not allowed
  std::vector<std::string> choices;
  bool required = false;
  bool printed = true;               ///< whether the resolved file and JSON show it
  std::vector<std::string> aliases;  ///< other names of the key; where two are given they must agree

  /// "at least 1", "one of a, b"; empty where anything goes.
  std::string text() const;
};

ConfigRule at_least(double least);
ConfigRule above(double least);
ConfigRule between(double least, double most);
/// least <= value < most
ConfigRule at_least_below(double least, double most);
ConfigRule one_of(std::vector<std::string> choices);
/// Where no source gives the key, reading fails.
ConfigRule required(ConfigRule rule = {});
/// A second place for a value that is printed elsewhere.
ConfigRule only_read(ConfigRule rule = {});
ConfigRule also_called(std::vector<std::string> aliases, ConfigRule rule = {});

/// One of several sources that are mixed: a path, and its share before the shares are divided by their sum.
struct WeightedPath {
  std::string path;
  std::optional<double> weight;  ///< above 0; absent: by size
  bool operator==(const WeightedPath&) const = default;
};
/// Written "a", ["a", "b"] or [{path = "a", weight = 0.7}, {path = "b", weight = 0.3}]; "" is no source. All have a weight
/// or none, and no path comes twice.
using WeightedPaths = std::vector<WeightedPath>;

class ConfigSection;

/// Where a value goes. An optional one is absent where no source gives it, or as "none" (TOML), null (JSON).
using ConfigTarget =
    std::variant<bool*, int64_t*, double*, std::string*, std::vector<int64_t>*, std::vector<std::string>*,
                 std::optional<bool>*, std::optional<int64_t>*, std::optional<double>*,
                 std::optional<std::string>*, std::optional<std::vector<int64_t>>*,
                 std::optional<std::vector<std::string>>*, WeightedPaths*, std::optional<WeightedPaths>*>;

struct ConfigField {
  std::string key;
  ConfigTarget target;
  std::string help;  ///< what the value is, with its unit; no full stop
  ConfigRule rule;
};

class ConfigSection {
 public:
  explicit ConfigSection(std::string name) : name_(std::move(name)) {}

  /// `value` must outlive the section.
  template <class T>
  void add(std::string key, T& value, std::string help, ConfigRule rule = {}) {
    fields_.push_back({std::move(key), &value, std::move(help), std::move(rule)});
  }
  /// A table within this section, such as [model.rope_scaling]. The reference is valid until the next call.
  ConfigSection& add_table(const std::string& key, std::string help, std::vector<std::string> aliases = {});

  /// With dots: "model.rope_scaling".
  const std::string& name() const { return name_; }
  const std::string& help() const { return help_; }
  const std::vector<std::string>& aliases() const { return aliases_; }
  const std::vector<ConfigField>& fields() const { return fields_; }
  const std::vector<ConfigSection>& tables() const { return tables_; }
  /// Keys and tables of this section, without aliases.
  std::vector<std::string> keys() const;

 private:
  std::string name_, help_;
  std::vector<std::string> aliases_;
  std::vector<ConfigField> fields_;
  std::vector<ConfigSection> tables_;
};

}  // namespace pscale
