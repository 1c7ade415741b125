// Text files to token files: the work of pscale_data prepare.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "data/text/text_files.h"
#include "data/tokenizer/tokenizer.h"

namespace pscale {

struct PrepareProgress {
  int64_t files = 0, bytes = 0;       ///< done
  int64_t documents = 0, tokens = 0;  ///< written
};

/// Writes one document per file to PREFIX.bin, .idx and .meta.json, each with an end of document behind it
/// where `append_eod` says so. `report` is called about once per MiB of text. A long file is never whole in
/// memory where the tokenizer allows that. Throws UserError; then nothing is left behind.
PrepareProgress prepare_tokens(const TextFiles& text, const Tokenizer& tokenizer, bool append_eod,
                               const std::string& prefix,
                               const std::function<void(const PrepareProgress&)>& report);

}  // namespace pscale
