// Residual connections.
#pragma once

#include "core/autograd/tape.h"

namespace pscale {

/// residual + branch, over branch's memory: branch is a fresh result that nobody saved. Same shape and dtype.
Var add_into(Tape& tape, const Var& residual, Var&& branch);

}  // namespace pscale
