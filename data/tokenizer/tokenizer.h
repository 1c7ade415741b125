// Text to token ids and back. Programs make one with make_tokenizer(); a new kind is one class and one line
// there. Immutable: any number of threads may use one at once.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace pscale {

/// What a tokenizer's post-processor puts around a text (beginning and end of sequence).
struct SurroundingTokens {
  std::vector<int32_t> before, after;
};

class Tokenizer {
 public:
  virtual ~Tokenizer() = default;

  /// Appends the ids of `text`; of special tokens only those that stand in the text. Throws UserError where a text
  /// cannot be encoded (not UTF-8).
  virtual void encode(std::string_view text, std::vector<int32_t>& out) const = 0;
  /// Appends the text of `tokens` to `out`. Throws UserError for an id outside [0, vocab_size()).
  virtual void decode(std::span<const int32_t> tokens, std::string& out) const = 0;
  /// Ids are in [0, vocab_size()).
  virtual int64_t vocab_size() const = 0;
  /// The id that ends a document; absent where the tokenizer's files do not tell and where none was asked for.
  virtual std::optional<int32_t> end_of_document() const = 0;
  /// What PREFIX.meta.json calls it: "bytes", or "xxh3:" and the hash of its file.
  virtual std::string name() const = 0;
  /// Whether encode() takes UTF-8 only.
  virtual bool needs_utf8() const = 0;
  /// The largest n for which encode(text[0, n)) and then encode() of the rest and all that follows give the ids of
  /// the whole, whatever follows; 0 where none is known.
  virtual size_t safe_cut(std::string_view text) const = 0;
  virtual SurroundingTokens surrounding_tokens() const { return {}; }
  /// The files that make it, itself first, to be kept beside token files.
  virtual std::vector<std::string> files() const { return {}; }
};

/// `name` is one of
///   "bytes"             ids 0 to 255 are bytes, 256 ends a document
///   FILE.json, FOLDER   a Hugging Face tokenizer.json of a byte-level BPE model, or the folder that holds one
///                       (json_tokenizer.h)
///   FILE.tiktoken       ranks as Qwen ships them (rank_tokenizer.h)
/// `end_of_document` names the token that ends a document, or is "none"; empty: what the files beside it say
/// (end_of_document.h). Throws UserError naming the file, key and value that is wrong or not supported.
std::unique_ptr<Tokenizer> make_tokenizer(const std::string& name, const std::string& end_of_document = "");

/// Whether the ids that both have stand for the same texts.
bool same_texts(const Tokenizer& a, const Tokenizer& b);

/// The ids of each text, as encode() gives them, found by several threads (0: OpenMP's number); long texts are cut
/// where that changes nothing. Throws what the first text that fails throws.
std::vector<std::vector<int32_t>> encode_batch(const Tokenizer& tokenizer, std::span<const std::string_view> texts,
                                               int threads = 0);

}  // namespace pscale
