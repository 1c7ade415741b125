// Regular expressions of tokenizer files: PCRE2 with JIT, held to what Oniguruma finds for the `tokenizers` package.
// A pattern is immutable and shared; each thread brings its own MatchSpace.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

namespace pscale {

/// Memory for matching, of one thread at a time.
class MatchSpace {
 public:
  MatchSpace();
  ~MatchSpace();
  MatchSpace(const MatchSpace&) = delete;
  MatchSpace& operator=(const MatchSpace&) = delete;

 private:
  friend class Pattern;
  struct Parts;
  std::unique_ptr<Parts> parts_;
};

class Pattern {
 public:
  /// Throws UserError saying what of `source` is not supported: what PCRE2 refuses, patterns that match nothing, and
  /// what means something else to Oniguruma (\w, \b, \h, intersections of classes, {1,3}+ ...).
  explicit Pattern(std::string source);
  /// Matches `literal` itself.
  static Pattern of_literal(std::string_view literal);

  Pattern(Pattern&&) noexcept;
  Pattern& operator=(Pattern&&) noexcept;
  ~Pattern();

  const std::string& source() const { return source_; }

  /// Bytes [first, second) of the first match at or after byte `from` of `text`, which is valid UTF-8. `exact` where
  /// has_late_characters() of it; the other way is faster.
  std::optional<std::pair<size_t, size_t>> find(std::string_view text, size_t from, bool exact,
                                                MatchSpace& space) const;

 private:
  struct Code;
  std::string source_;
  std::unique_ptr<Code> fast_, exact_;
};

}  // namespace pscale
