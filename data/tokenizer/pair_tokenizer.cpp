#include "data/tokenizer/pair_tokenizer.h"

#include <algorithm>
#include <cstring>

#include "core/base/errors.h"
#include "core/base/hash.h"
#include "data/tokenizer/unicode.h"

namespace pscale {
namespace {

constexpr size_t kLongestKept = 64;        // bytes of a word that is remembered
constexpr size_t kSlots = size_t{1} << 15;  // of the memory of words; it is emptied when half full

/// Words and their tokens.
class WordMemory {
 public:
  WordMemory() : entries_(kSlots) {}

  /// The tokens of a word that was put before; null where it was not.
  bool get(std::string_view word, uint64_t hash, std::vector<int32_t>& out) const {
    for (size_t slot = hash & (kSlots - 1); entries_[slot].bytes != 0; slot = (slot + 1) & (kSlots - 1)) {
      const Entry& entry = entries_[slot];
      if (entry.hash != static_cast<uint32_t>(hash >> 32) || entry.bytes != word.size() ||
          std::memcmp(text_.data() + entry.text, word.data(), word.size()) != 0)
        continue;
      const auto first = tokens_.begin() + entry.token;
      out.insert(out.end(), first, first + entry.tokens);
      return true;
    }
    return false;
  }

  void put(std::string_view word, uint64_t hash, std::span<const int32_t> tokens) {
    if (2 * (count_ + 1) > kSlots) {
      entries_.assign(kSlots, {});
      text_.clear();
      tokens_.clear();
      count_ = 0;
    }
    size_t slot = hash & (kSlots - 1);
    while (entries_[slot].bytes != 0) slot = (slot + 1) & (kSlots - 1);
    entries_[slot] = {static_cast<uint32_t>(hash >> 32), static_cast<uint32_t>(text_.size()),
                      static_cast<uint32_t>(tokens_.size()), static_cast<uint16_t>(word.size()),
                      static_cast<uint16_t>(tokens.size())};
    text_.append(word);
    tokens_.insert(tokens_.end(), tokens.begin(), tokens.end());
    ++count_;
  }

 private:
  struct Entry {
    uint32_t hash = 0, text = 0, token = 0;
    uint16_t bytes = 0, tokens = 0;  // no bytes: free
  };
  std::vector<Entry> entries_;
  std::string text_;
  std::vector<int32_t> tokens_;
  size_t count_ = 0;
};

}  // namespace

struct PairTokenizer::Scratch {
  MatchSpace space;
  BytePairs::Scratch pairs;
  WordMemory memory;
  std::string normalized;
  bool exact = false;
};

/// A scratch for the time of a call.
class PairTokenizer::Lease {
 public:
  explicit Lease(const PairTokenizer& owner) : owner_(owner) {
    {
      const std::lock_guard lock(owner_.mutex_);
      if (!owner_.free_.empty()) {
        scratch_ = std::move(owner_.free_.back());
        owner_.free_.pop_back();
      }
    }
    if (!scratch_) scratch_ = std::make_unique<Scratch>();
  }
  ~Lease() {
    const std::lock_guard lock(owner_.mutex_);
    owner_.free_.push_back(std::move(scratch_));
  }
  Lease(const Lease&) = delete;
  Lease& operator=(const Lease&) = delete;
  Scratch& operator*() { return *scratch_; }

 private:
  const PairTokenizer& owner_;
  std::unique_ptr<Scratch> scratch_;
};

PairTokenizer::PairTokenizer(PairTokenizerParts parts) : parts_(std::move(parts)) {}
PairTokenizer::~PairTokenizer() = default;

size_t PairTokenizer::safe_cut(std::string_view text) const {
  const size_t longest = parts_.normalized_tokens.longest();
  std::string ignored;
  for (size_t cut = text.size(); (cut = parts_.words.safe_cut(text, cut)) > 0;) {
    if (parts_.raw_tokens.spans(text, cut) || parts_.normalized_tokens.spans(text, cut)) continue;
    // Tokens that are sought in the normalized text can be seen in the text itself where it is normal already.
    const size_t from = cut - std::min(cut, longest);
    if (longest == 0 || !parts_.nfc || !normalize_nfc(text.substr(from, 2 * longest), ignored)) return cut;
  }
  return 0;
}

void PairTokenizer::encode(std::string_view text, std::vector<int32_t>& out) const {
  const size_t invalid = find_invalid_utf8(text);
  if (invalid != std::string_view::npos)
    throw UserError(cat("byte ", invalid, " of the text is not UTF-8, which this tokenizer needs"));
  Lease lease(*this);
  Scratch& scratch = *lease;
  parts_.raw_tokens.split(
      text,
      [&](std::string_view part) {
        if (parts_.nfc && normalize_nfc(part, scratch.normalized))
          encode_normalized(scratch.normalized, scratch, out);
        else
          encode_normalized(part, scratch, out);
      },
      [&](int32_t token) { out.push_back(token); });
}

void PairTokenizer::encode_normalized(std::string_view text, Scratch& scratch, std::vector<int32_t>& out) const {
  scratch.exact = has_late_characters(text);
  parts_.normalized_tokens.split(
      text, [&](std::string_view part) { encode_words(part, scratch, out); },
      [&](int32_t token) { out.push_back(token); });
}

void PairTokenizer::encode_words(std::string_view text, Scratch& scratch, std::vector<int32_t>& out) const {
  parts_.words.split(text, scratch.exact, scratch.space,
                     [&](std::string_view word) { encode_word(word, scratch, out); });
}

void PairTokenizer::encode_word(std::string_view word, Scratch& scratch, std::vector<int32_t>& out) const {
  const bool kept = word.size() <= kLongestKept;
  const uint64_t hash = kept ? hash_of(word.data(), word.size()) : 0;
  if (kept && scratch.memory.get(word, hash, out)) return;
  const size_t before = out.size();
  const auto whole = parts_.whole_words.empty() ? parts_.whole_words.end() : parts_.whole_words.find(std::string(word));
  if (whole != parts_.whole_words.end())
    out.push_back(whole->second);
  else
    parts_.pairs.encode(word, scratch.pairs, out);
  if (kept) scratch.memory.put(word, hash, std::span(out).subspan(before));
}

void PairTokenizer::decode(std::span<const int32_t> tokens, std::string& out) const {
  for (const int32_t token : tokens) {
    if (token < 0 || token >= vocab_size())
      throw UserError(cat("token ", token, " is not one of the tokenizer, whose ids are 0 to ", vocab_size() - 1));
    out += parts_.texts[static_cast<size_t>(token)];
  }
}

}  // namespace pscale
