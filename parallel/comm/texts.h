// Texts among ranks: error messages, file records. Not for the inner loop.
#pragma once

#include <string>
#include <vector>

#include "parallel/comm/communicator.h"

namespace pscale {

/// The text of every rank of the group, in rank order, on every rank. Collective.
std::vector<std::string> gather_texts(Communicator& group, const std::string& own, Purpose purpose);

/// The texts that are not empty, each once: what ranks have to say about a failure. Collective.
std::vector<std::string> gather_problems(Communicator& group, const std::vector<std::string>& own, Purpose purpose);

}  // namespace pscale
