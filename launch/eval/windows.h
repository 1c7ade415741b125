// Which tokens a model is judged on, and what it sees before them: as lm-evaluation-harness' loglikelihood_rolling.
//
// Each document is judged by itself. Its first token is predicted from the end-of-document token before it, where the
// files have one; that token itself is never judged. A document longer than a sequence is cut into windows, each token
// judged once; the last window reaches back, so that its tokens see as much as they can.
#pragma once

#include <cstdint>
#include <vector>

#include "data/token_file/token_file.h"

namespace pscale {

struct Window {
  int64_t first = 0;    ///< place of its first input token in the file; -1: an end of document comes before token 0
  int64_t length = 0;   ///< inputs, and targets one further
  int64_t counted = 0;  ///< the last so many targets are judged
};

/// Windows of at most `length` inputs, in the order of the file, until `most` tokens are judged (0: all).
std::vector<Window> windows_of(const TokenFile& file, int64_t length, int64_t most);

}  // namespace pscale
