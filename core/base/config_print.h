// Writing configuration from the structs that declared it (core/base/config_section.h).
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "core/base/config_section.h"

namespace pscale {

/// The sections as TOML, each key under a comment that says what it is. Reading it back gives the same
/// values.
std::string config_toml(const std::vector<ConfigSection>& sections);

/// A section's fields as members of `json`; absent optional values as null, tables as objects.
void write_json(const ConfigSection& section, nlohmann::ordered_json& json);

/// All keys as Markdown tables: key, type, value (the default, where the structs are fresh), rule, meaning.
std::string config_reference(const std::vector<ConfigSection>& sections);

}  // namespace pscale
