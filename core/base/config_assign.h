// Giving one value to one field, with the checks of its type and rule: the step between a value tree and a
// struct.
#pragma once

#include <string>

#include "core/base/config_section.h"
#include "core/base/config_value.h"

namespace pscale {

bool is_optional(const ConfigTarget& target);

/// "integer", "list of texts or none", for messages and documentation.
std::string type_name(const ConfigTarget& target);

/// Sets the field where the value fits. Returns what is wrong otherwise ("must be at least 1"), and changes
/// nothing.
std::string assign(const ConfigField& field, const ConfigValue& value);

}  // namespace pscale
