// The pre-tokenizer of a byte-level tokenizer: cuts a text into the words that byte-pair encoding sees. Immutable; each
// thread brings its own MatchSpace.
#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "data/tokenizer/pattern.h"

namespace pscale {

/// What becomes of the matches of a pattern, and of what lies between them.
enum class SplitBehavior { removed, isolated, merged_with_previous, merged_with_next, contiguous };

class WordSplitter {
 public:
  using Take = std::function<void(std::string_view)>;

  /// Cuts at the matches of `pattern`; with `invert`, what lies between them counts as the matches.
  void add_split(Pattern pattern, SplitBehavior behavior, bool invert);
  /// Cuts numbers off, each character for itself where `individual`.
  void add_digits(bool individual);
  /// The step that ends every byte-level pre-tokenizer: a space before words that begin without one, then GPT-2's
  /// regular expression.
  void add_byte_level(bool add_prefix_space, bool use_regex);

  /// Calls `take` with the words of `text` (valid UTF-8) in order. The views end with the call. `exact` as for Pattern.
  void split(std::string_view text, bool exact, MatchSpace& space, const Take& take) const;

  /// Where a text of which more follows may be cut without changing a word: the largest such byte of `text` before `end`,
  /// 0 where none is known. Known for the regular expressions of GPT-2, Llama 3 and Qwen. Linear in what lies between.
  size_t safe_cut(std::string_view text, size_t end) const;

 private:
  struct Step {
    enum class Kind { pattern, digits, prefix } kind;
    std::vector<Pattern> pattern;  // one or none
    SplitBehavior behavior = SplitBehavior::isolated;
    bool invert = false;
  };
  struct Part {
    size_t begin, end;
    bool match;
  };
  void run(size_t step, std::string_view text, bool exact, MatchSpace& space, const Take& take) const;
  void run_pattern(size_t step, std::string_view text, bool exact, MatchSpace& space, const Take& take) const;
  void run_digits(size_t step, std::string_view text, bool exact, MatchSpace& space, const Take& take) const;

  std::vector<Step> steps_;
  bool cuts_known_ = true;
};

/// GPT-2's regular expression, and Qwen's.
extern const char* const kGpt2Pattern;
extern const char* const kQwenPattern;

}  // namespace pscale
