// pscale_data merge: token files that were prepared in parts, joined.
#pragma once

#include <string>
#include <vector>

namespace pscale {

/// Takes the words after the command and returns the exit code. Throws UserError.
int merge_files(const std::vector<std::string>& arguments);

}  // namespace pscale
