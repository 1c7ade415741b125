// A byte-level BPE tokenizer, whatever kind of file it was read from.
#pragma once

#include <memory>
#include <mutex>
#include <unordered_map>

#include "data/tokenizer/added_tokens.h"
#include "data/tokenizer/byte_pairs.h"
#include "data/tokenizer/tokenizer.h"
#include "data/tokenizer/word_splitter.h"

namespace pscale {

/// What the files say.
struct PairTokenizerParts {
  std::string name;
  std::vector<std::string> files;
  bool nfc = false;             ///< texts are normalized
  AddedTokenFinder raw_tokens;  ///< sought in the text as it is
  AddedTokenFinder normalized_tokens;
  WordSplitter words;
  BytePairs pairs;
  std::unordered_map<std::string, int32_t> whole_words;  ///< bytes that are one token without any merge
  std::vector<std::string> texts;                        ///< of the ids, for decode; empty where there is none
  SurroundingTokens surrounding;
  std::optional<int32_t> end_of_document;
};

class PairTokenizer : public Tokenizer {
 public:
  explicit PairTokenizer(PairTokenizerParts parts);
  ~PairTokenizer() override;

  void encode(std::string_view text, std::vector<int32_t>& out) const override;
  void decode(std::span<const int32_t> tokens, std::string& out) const override;
  int64_t vocab_size() const override { return static_cast<int64_t>(parts_.texts.size()); }
  std::optional<int32_t> end_of_document() const override { return parts_.end_of_document; }
  std::string name() const override { return parts_.name; }
  bool needs_utf8() const override { return true; }
  size_t safe_cut(std::string_view text) const override;
  SurroundingTokens surrounding_tokens() const override { return parts_.surrounding; }
  std::vector<std::string> files() const override { return parts_.files; }

 private:
  struct Scratch;
  class Lease;
  void encode_normalized(std::string_view text, Scratch& scratch, std::vector<int32_t>& out) const;
  void encode_words(std::string_view text, Scratch& scratch, std::vector<int32_t>& out) const;
  void encode_word(std::string_view word, Scratch& scratch, std::vector<int32_t>& out) const;

  PairTokenizerParts parts_;
  mutable std::mutex mutex_;
  mutable std::vector<std::unique_ptr<Scratch>> free_;  // of no thread at the moment
};

}  // namespace pscale
