// Text files to token files: the work of pscale_data prepare.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "data/text/text_files.h"
#include "data/tokenizer/tokenizer.h"

namespace pscale {

struct PrepareOptions {
  std::string prefix;         ///< of the token files
  bool append_eod = true;     ///< behind each document
  std::string field = "text"; ///< of the lines of JSONL files
  bool skip_bad = false;      ///< documents that are no text, instead of ending with an error
  std::string part;           ///< "2/4" where this is one of several preparations; empty: all of it
};

struct PrepareProgress {
  int64_t files = 0, bytes = 0;       ///< read; bytes as they lie on the disk
  int64_t documents = 0, tokens = 0;  ///< written
  int64_t empty = 0, bad = 0;         ///< documents left out
  std::vector<std::string> problems;  ///< the first few bad documents: file, line and what is wrong
};

/// Writes the documents of `text` to PREFIX.bin, .idx and .meta.json, each with an end of document behind it where that
/// is asked for, and the tokenizer's files to PREFIX.tokenizer. Documents without text are left out. `report` is called
/// about once per MiB of text and thread. Memory does not grow with the files, save where the tokenizer finds no place to
/// cut a text. Throws UserError with file and line of a document that is no text (not UTF-8, unless the tokenizer takes
/// any bytes; no JSON, no such field), unless `skip_bad`; then nothing is left behind.
PrepareProgress prepare_tokens(const TextFiles& text, const Tokenizer& tokenizer, const PrepareOptions& options,
                               const std::function<void(const PrepareProgress&)>& report);

}  // namespace pscale
