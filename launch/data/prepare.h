// pscale_data prepare: text to token files.
#pragma once

#include <string>
#include <vector>

namespace pscale {

/// Takes the words after the command and returns the exit code. Throws UserError.
int prepare_files(const std::vector<std::string>& arguments);

}  // namespace pscale
