// Any text on one line of a terminal.
#pragma once

#include <string>

namespace pscale {

/// As in C: what a terminal cannot show as it is (controls, what is no UTF-8) has a backslash, and so have \ and ".
std::string escaped(const std::string& text);

}  // namespace pscale
