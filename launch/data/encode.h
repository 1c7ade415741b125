// pscale_data encode and decode: standard input to standard output, line by line.
#pragma once

#include <string>
#include <vector>

namespace pscale {

/// Both take the words after the command and return the exit code. Throw UserError naming the line that is wrong.
int encode_lines(const std::vector<std::string>& arguments);
int decode_lines(const std::vector<std::string>& arguments);

}  // namespace pscale
