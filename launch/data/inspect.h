// pscale_data inspect: what token files hold.
#pragma once

#include <cstdint>
#include <iosfwd>
#include <string>
#include <vector>

namespace pscale {

/// Takes the words after the command and returns the exit code. Throws UserError.
int inspect_files(const std::vector<std::string>& arguments);

/// Checks the token files `prefix` and writes to `out` what they hold: for people, or as one JSON object. Shows the
/// beginnings of `samples` documents, evenly spread. Throws UserError.
void inspect_token_files(const std::string& prefix, int64_t samples, bool json, std::ostream& out);

}  // namespace pscale
