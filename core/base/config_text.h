// Writing values as TOML, and finding the word a user may have meant.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "core/base/config_section.h"

namespace pscale {

/// A TOML string in double quotes, with escapes.
std::string toml_text(const std::string& value);
/// The shortest number that reads back as the same double, with a point or an exponent: 0.0003, 1e-08,
/// 10000.0.
std::string toml_text(double value);
std::string toml_text(bool value);
std::string toml_text(int64_t value);
std::string toml_text(const WeightedPath& value);   ///< {path = "a", weight = 0.7}, or "a"
std::string toml_text(const WeightedPaths& value);  ///< a text, a list of texts or a list of tables

/// Optimal string alignment distance: insertions, deletions, substitutions and swaps of neighbours, each 1.
int64_t edit_distance(std::string_view a, std::string_view b);

/// The candidate nearest to `word` where it is near enough to be a slip (a third of the word, at least 2 and
/// at most 6 edits; 1 below four letters), else the nearest that shares a word between underscores; else
/// empty. The first of equals.
std::string nearest(std::string_view word, const std::vector<std::string>& candidates);

}  // namespace pscale
