// Text to token ids and back. Programs make one with make_tokenizer(); a new kind is one class and one line
// there.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace pscale {

class Tokenizer {
 public:
  virtual ~Tokenizer() = default;

  /// Appends the ids of `text`; never the end of document.
  virtual void encode(std::string_view text, std::vector<int32_t>& out) const = 0;
  /// Appends the text of `tokens` to `out`; an end of document has none. Throws UserError for an id outside
  /// [0, vocab_size()).
  virtual void decode(std::span<const int32_t> tokens, std::string& out) const = 0;
  /// Ids are in [0, vocab_size()).
  virtual int64_t vocab_size() const = 0;
  /// The id that ends a document.
  virtual int32_t end_of_document() const = 0;
  /// What make_tokenizer() was given.
  virtual std::string name() const = 0;
  /// Whether encode(a) followed by encode(b) always equals encode(ab), so that a long text may be encoded in
  /// pieces.
  virtual bool encodes_in_pieces() const = 0;
};

/// "bytes": ids 0 to 255 are bytes, 256 ends a document. Throws UserError for anything else: this version
/// reads no tokenizer files.
std::unique_ptr<Tokenizer> make_tokenizer(const std::string& name);

}  // namespace pscale
