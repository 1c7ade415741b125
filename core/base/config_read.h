// Reading configuration into the structs that declared it (core/base/config_section.h).
//
// A later source wins: defaults, `include = ["..."]`, the file, `section.key=value` on the command line. All
// problems of all sources are collected, each "FILE:LINE: section.key ... what is wrong; what to do".
#pragma once

#include <map>
#include <string>
#include <vector>

#include "core/base/config_section.h"
#include "core/base/config_value.h"

namespace pscale {

/// Where each value came from, so that rules over several keys can say it.
class ConfigOrigins {
 public:
  void set(const std::string& key, ConfigLocation location) { locations_[key] = std::move(location); }
  /// Whether any source gave the key (written section.key). As "none" or null it is given, too.
  bool given(const std::string& key) const { return locations_.contains(key); }
  /// "FILE:LINE: section.key", "command line: section.key", and "section.key" for a default.
  std::string name(const std::string& key) const;
  /// A sentence that begins with a key, with that key's place before it.
  std::string placed(const std::string& sentence) const;

  /// Notes that a key does not have the value the user meant: it was wrong, missing or misspelt.
  void doubt(const std::string& key) { doubted_.push_back(key); }
  /// Whether a sentence names a doubted key: then a rule over several keys may be broken by nothing but the
  /// default.
  bool doubts(const std::string& sentence) const;

 private:
  std::map<std::string, ConfigLocation> locations_;
  std::vector<std::string> doubted_;
};

/// What is known about keys that are not ours.
struct ConfigHints {
  std::map<std::string, std::string> renamed;  ///< section.key of another program -> section.key here
  std::map<std::string, std::string> notes;    ///< section or section.key -> a sentence that says what to do
};

enum class UnknownKeys : uint8_t { refuse, ignore };

/// Reads a TOML file with its includes. An include is a path or a list of paths, relative to the file that
/// names it, on a line before the first [section]; a later one wins over an earlier one, the file itself over
/// both. What cannot be read, and a file that includes itself, is added to `problems`; the rest is still
/// returned.
ConfigTable read_config_file(const std::string& path, std::vector<std::string>& problems);

/// Sets the fields that `values` gives. Values are checked for type and rule one by one; a bad one leaves its
/// default.
void read_section(const ConfigSection& section, const ConfigTable& values, UnknownKeys unknown,
                  const ConfigHints& hints, ConfigOrigins& origins, std::vector<std::string>& problems);

/// Reads all sections from [tables] of their names; a table or key that is in none of them is a problem, with
/// the nearest valid key. Not `complete`: a source could not be read, so a missing key is no problem.
void read_sections(const std::vector<ConfigSection>& sections, const ConfigTable& values,
                   const ConfigHints& hints, ConfigOrigins& origins, std::vector<std::string>& problems,
                   bool complete = true);

}  // namespace pscale
