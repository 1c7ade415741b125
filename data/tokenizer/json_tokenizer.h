// Hugging Face tokenizer.json of byte-level BPE models: Qwen2, Qwen2.5, Qwen3, Llama 3, SmolLM2, GPT-2 and those built
// of the same parts. Gives the ids of the `tokenizers` package (0.23).
//
// Supported: normalizers NFC and Sequence; pre-tokenizers Split, Digits, ByteLevel (last) and Sequence; model BPE with
// ignore_merges, unk_token and fuse_unk, without dropout, prefixes and suffixes of words; decoder ByteLevel; post-processors
// TemplateProcessing (of a single text), ByteLevel and Sequence. `truncation` and `padding` are for batches of a model
// and play no role here. Everything else is an error with file, key and value.
#pragma once

#include <memory>
#include <string>

#include "data/tokenizer/tokenizer.h"

namespace pscale {

/// Throws UserError.
std::unique_ptr<Tokenizer> read_json_tokenizer(const std::string& file, const std::string& end_of_document);

}  // namespace pscale
