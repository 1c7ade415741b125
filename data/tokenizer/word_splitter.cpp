#include "data/tokenizer/word_splitter.h"

#include <algorithm>
#include <array>
#include <utility>

#include "data/tokenizer/unicode.h"

namespace pscale {

const char* const kGpt2Pattern = R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";
const char* const kQwenPattern =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";

namespace {

const char* const kLlama3Pattern =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";

uint32_t character_at(std::string_view text, size_t at) { return next_character(text, at); }

/// Whether there is a cut at the second of two characters, where a letter follows them. Normal form C changes neither
/// side, since what is on the other side of the cut does not combine.
bool parts_words(uint32_t first, uint32_t second) {
  return second == ' ' || second == '\n' ? !is_white_space(first) : is_punctuation(second) && is_letter(first);
}

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

size_t WordSplitter::safe_cut(std::string_view text, size_t end) const {
  const bool any_pattern = std::any_of(steps_.begin(), steps_.end(),
                                       [](const Step& step) { return step.kind == Step::Kind::pattern; });
  constexpr size_t kLongest = 4;  // bytes of a character; the last ones of `text` may be a part of one
  if (!cuts_known_ || !any_pattern || text.size() < kLongest) return 0;
  // Three characters decide, whatever lies before and behind. The third is a letter; a cut is
  //   before a single space: it begins the word of that letter, or is one;
  //   behind a single line feed: it is a word, or ends that of the marks before it;
  //   before a mark of punctuation that is the only one between letters: likewise.
  size_t next = std::min(end, text.size() - kLongest);
  while (next > 0 && continues(text[next])) --next;
  for (size_t between = 0; next > 0; next = between) {
    between = character_before(text, next);
    if (between == 0) return 0;
    const size_t cut = text[between] == '\n' ? next : between;
    if (cut < end && is_letter(character_at(text, next)) &&
        parts_words(character_at(text, character_before(text, between)), character_at(text, between)))
      return cut;
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
