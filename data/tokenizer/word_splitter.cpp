#include "data/tokenizer/word_splitter.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <cstring>
#include <utility>

#include "data/tokenizer/unicode.h"

namespace pscale {

const char* const kGpt2Pattern = R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";
const char* const kQwenPattern =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";

namespace {

const char* const kLlama3Pattern =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";

bool is_letter_or_digit(char c) { return std::isalnum(static_cast<unsigned char>(c)) && c > 0; }

}  // namespace

void WordSplitter::add_split(Pattern pattern, SplitBehavior behavior, bool invert) {
  const std::array known = {kGpt2Pattern, kQwenPattern, kLlama3Pattern};
  // With these every character is in a match, so that removing what is between them removes nothing.
  const bool same = std::any_of(known.begin(), known.end(), [&](const char* k) { return pattern.source() == k; }) &&
                    ((behavior == SplitBehavior::isolated) || (behavior == SplitBehavior::removed && invert));
  cuts_known_ = cuts_known_ && same;
  Step step{Step::Kind::pattern, {}, behavior, invert};
  step.pattern.push_back(std::move(pattern));
  steps_.push_back(std::move(step));
}

void WordSplitter::add_digits(bool individual) {
  steps_.push_back(
      {Step::Kind::digits, {}, individual ? SplitBehavior::isolated : SplitBehavior::contiguous, false});
}

void WordSplitter::add_byte_level(bool add_prefix_space, bool use_regex) {
  if (add_prefix_space) {
    steps_.push_back({Step::Kind::prefix, {}});
    cuts_known_ = false;
  }
  if (use_regex) add_split(Pattern(kGpt2Pattern), SplitBehavior::isolated, false);
}

size_t WordSplitter::safe_cut(std::string_view text) const {
  const bool any_pattern = std::any_of(steps_.begin(), steps_.end(),
                                       [](const Step& step) { return step.kind == Step::Kind::pattern; });
  if (!cuts_known_ || !any_pattern) return 0;
  // Behind the end of a line whose last character is a letter or digit, before a letter: each of the known regular
  // expressions has the line break as a word of its own there, whatever lies before and behind.
  for (size_t at = text.size(); at >= 3; --at) {
    const void* line_end = memrchr(text.data() + 1, '\n', at - 2);
    if (!line_end) return 0;
    at = static_cast<size_t>(static_cast<const char*>(line_end) - text.data()) + 1;
    if (is_letter_or_digit(text[at - 2]) && std::isalpha(static_cast<unsigned char>(text[at])) && text[at] > 0) return at;
  }
  return 0;
}

void WordSplitter::split(std::string_view text, bool exact, MatchSpace& space, const Take& take) const {
  if (!text.empty()) run(0, text, exact, space, take);
}

void WordSplitter::run(size_t step, std::string_view text, bool exact, MatchSpace& space, const Take& take) const {
  if (step == steps_.size()) return take(text);
  switch (steps_[step].kind) {
    case Step::Kind::pattern: return run_pattern(step, text, exact, space, take);
    case Step::Kind::digits: return run_digits(step, text, exact, space, take);
    case Step::Kind::prefix: break;
  }
  if (text.starts_with(' ')) return run(step + 1, text, exact, space, take);
  std::string prefixed = " ";
  prefixed += text;
  run(step + 1, prefixed, exact, space, take);
}

void WordSplitter::run_pattern(size_t index, std::string_view text, bool exact, MatchSpace& space,
                               const Take& take) const {
  const Step& step = steps_[index];
  const Pattern& pattern = step.pattern[0];
  Part held{0, 0, false};  // merged so far, not yet given away
  bool holds = false;
  const auto give = [&](const Part& part) {
    run(index + 1, text.substr(part.begin, part.end - part.begin), exact, space, take);
  };
  const auto flush = [&] {
    if (holds) give(held);
    holds = false;
  };
  // merged_with_previous: a match joins what is before it unless that is a match; merged_with_next: the mirror image.
  const auto part = [&](size_t begin, size_t end, bool match) {
    if (begin == end) return;
    const Part now{begin, end, match != step.invert};
    bool joins = false;
    switch (step.behavior) {
      case SplitBehavior::isolated: return give(now);
      case SplitBehavior::removed: return now.match ? void() : give(now);
      case SplitBehavior::contiguous: joins = now.match == held.match; break;
      case SplitBehavior::merged_with_previous: joins = now.match && !held.match; break;
      case SplitBehavior::merged_with_next: joins = !now.match && held.match; break;
    }
    if (holds && joins) {
      held.end = now.end;
      held.match = now.match;
      return;
    }
    flush();
    held = now;
    holds = true;
  };
  size_t done = 0;
  while (const auto match = pattern.find(text, done, exact, space)) {
    part(done, match->first, false);
    part(match->first, match->second, true);
    done = match->second;
  }
  part(done, text.size(), false);
  flush();
}

void WordSplitter::run_digits(size_t index, std::string_view text, bool exact, MatchSpace& space,
                              const Take& take) const {
  const bool individual = steps_[index].behavior == SplitBehavior::isolated;
  size_t begin = 0;
  bool number = false;
  for (size_t at = 0; at < text.size();) {
    const size_t here = at;
    const bool is = is_number(next_character(text, at));
    if (here > begin && (is != number || (is && individual))) {
      run(index + 1, text.substr(begin, here - begin), exact, space, take);
      begin = here;
    }
    number = is;
  }
  if (begin < text.size()) run(index + 1, text.substr(begin), exact, space, take);
}

}  // namespace pscale
