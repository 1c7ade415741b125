// The tokenizer files of an exported model.
#pragma once

#include <string>

namespace pscale {

/// The id that ends a document of the byte tokenizer; 0 to 255 are the bytes.
constexpr int kByteEndOfDocument = 256;

/// Writes tokenizer.json and tokenizer_config.json that give the byte tokenizer's ids for any text: a BPE model whose
/// vocabulary are the bytes and that merges nothing. Throws UserError where they cannot be written.
void write_byte_tokenizer(const std::string& folder);

/// Whether a folder's tokenizer is that one.
bool is_byte_tokenizer(const std::string& folder);

/// Copies the tokenizer's files of one model folder to another. Throws UserError where there are none, or one cannot be
/// copied.
void copy_tokenizer(const std::string& from, const std::string& to);
/// Whether a folder has a tokenizer's files.
bool has_tokenizer(const std::string& folder);
/// Whether the tokenizer of a folder brings texts into normal form C.
bool normalizes_to_nfc(const std::string& folder);

}  // namespace pscale
