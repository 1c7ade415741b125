// The folder names of a sweep's runs: readable, safe on any file system and in any shell, and the same
// whenever the same values are swept.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "core/base/config_value.h"

namespace pscale {

/// A value in a name: 4, 3e-4, true, none, 0-6-12-18, pile. Characters other than letters, digits, '.', '_',
/// '-' become '-', and a text that had any, or is too long, ends in a hash of it.
std::string name_of_value(const ConfigValue& value);

/// "VARIANT,parscale_n=4,learning_rate=3e-4": the last part of each key, or all of it where two keys end
/// alike. At most 120 characters: the rest of a longer one is a hash of the whole. `keys` are all swept keys,
/// in the order of `values`.
std::string name_of_run(const std::string& variant,
                        const std::vector<std::pair<std::string, ConfigValue>>& values);

}  // namespace pscale
