// Rank files as Qwen ships them (qwen.tiktoken): a line per token with its bytes in base64, a space and its rank, which
// is its id. Of all pairs of neighbours the one whose bytes together have the lowest rank is merged first.
#pragma once

#include <memory>
#include <string>

#include "data/tokenizer/tokenizer.h"

namespace pscale {

/// With what the file does not hold taken from Qwen: normal form C, its regular expression, and behind the ranks the
/// special tokens <|endoftext|> (the end of a document), <|im_start|>, <|im_end|> and <|extra_0|> to <|extra_204|>.
/// Files of OpenAI's encodings, which have other expressions and tokens, are refused by their names. Throws UserError
/// naming file and line.
std::unique_ptr<Tokenizer> read_rank_tokenizer(const std::string& file, const std::string& end_of_document);

}  // namespace pscale
