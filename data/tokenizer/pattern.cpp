#define PCRE2_CODE_UNIT_WIDTH 8
#include "data/tokenizer/pattern.h"

#include <pcre2.h>

#include <algorithm>
#include <cctype>
#include <cstdio>
#include <cstring>
#include <new>

#include "core/base/errors.h"
#include "data/tokenizer/unicode.h"

namespace pscale {
namespace {

constexpr size_t kStackStart = 64 << 10, kStackLimit = 64 << 20;  // bytes, of the JIT stack of a thread
constexpr uint32_t kNoLimit = 0xffffffff;

const char* const kBlanks =
    "\\x{9}-\\x{d}\\x{20}\\x{85}\\x{a0}\\x{1680}\\x{2000}-\\x{200a}\\x{2028}\\x{2029}\\x{202f}\\x{205f}\\x{3000}";
const char* const kNoBlanks =
    "\\x{0}-\\x{8}\\x{e}-\\x{1f}\\x{21}-\\x{84}\\x{86}-\\x{9f}\\x{a1}-\\x{167f}\\x{1681}-\\x{1fff}\\x{200b}-\\x{2027}"
    "\\x{202a}-\\x{202e}\\x{2030}-\\x{205e}\\x{2060}-\\x{2fff}\\x{3001}-\\x{10ffff}";

/// The late characters of a general category ("L", "Lu") as the inside of a class.
std::string late_of(const std::string& category) {
  std::string out;
  for (const LateCharacters& range : late_characters()) {
    if (!std::string_view(range.category).starts_with(category)) continue;
    char text[40];
    std::snprintf(text, sizeof text, "\\x{%x}-\\x{%x}", range.first, range.last);
    out += text;
  }
  return out;
}

/// Walks over a pattern, refuses what means something else to Oniguruma and writes the pattern with explicit ranges
/// for blanks and late characters.
class Translator {
 public:
  explicit Translator(const std::string& source) : source_(source) {}

  std::string translate() {
    for (at_ = 0; at_ < source_.size();) {
      const char c = source_[at_];
      if (c == '\\') {
        escape();
      } else if (in_class_) {
        class_character(c);
      } else {
        plain(c);
      }
    }
    return std::move(out_);
  }

 private:
  [[noreturn]] void refuse(const std::string& what) const {
    throw UserError(cat("the regular expression \"", source_, "\" has ", what, ", which is not supported"));
  }
  bool follows(const char* text) const { return source_.compare(at_, std::strlen(text), text) == 0; }

  void plain(char c) {
    if (c == '[') {
      in_class_ = true;
      class_start_ = at_ + (source_.compare(at_ + 1, 1, "^") == 0 ? 2 : 1);
      out_.append(source_, at_, class_start_ - at_);
      at_ = class_start_;
      return;
    }
    if (c == '}' && follows("}+")) refuse("a possessive count \"}+\"");
    if (follows("(?") && !follows("(?:") && !follows("(?i:") && !follows("(?=") && !follows("(?!") &&
        !follows("(?<=") && !follows("(?<!") && !follows("(?>") && !follows("(?i)"))
      refuse(cat("the group \"", source_.substr(at_, 4), "\""));
    if (follows("(*")) refuse("\"(*\"");
    out_ += c;
    ++at_;
  }

  void class_character(char c) {
    if (c == '[') refuse("a class within a class");
    if (follows("&&")) refuse("an intersection of classes");
    if (c == ']' && at_ == class_start_) refuse("an empty class");
    if (c == ']') in_class_ = false;
    out_ += c;
    ++at_;
  }

  void put_class(const std::string& inside, bool negated) {
    if (in_class_)
      out_ += inside;
    else
      out_ += cat(negated ? "[^" : "[", inside, "]");
  }

  void escape() {
    if (at_ + 1 >= source_.size()) refuse("\"\\\" at its end");
    const char c = source_[at_ + 1];
    if (c == 's' || c == 'S') {
      put_class(c == 's' || !in_class_ ? kBlanks : kNoBlanks, c == 'S');
      at_ += 2;
    } else if (c == 'd' || c == 'D') {
      if (c == 'D' && in_class_) refuse("\"\\D\" in a class");
      put_class("\\p{Nd}" + late_of("Nd"), c == 'D');
      at_ += 2;
    } else if (c == 'p' || c == 'P') {
      property(c == 'P');
    } else if (std::isalnum(static_cast<unsigned char>(c)) && !std::strchr("nrtfvax", c)) {
      refuse(cat("\"\\", c, "\""));
    } else {
      out_.append(source_, at_, 2);
      at_ += 2;
    }
  }

  void property(bool negated) {
    static const char* const known[] = {"L",  "Lu", "Ll", "Lt", "Lm", "Lo", "M",  "Mn", "Mc", "Me", "N",  "Nd", "Nl",
                                        "No", "P",  "Pc", "Pd", "Ps", "Pe", "Pi", "Pf", "Po", "S",  "Sm", "Sc", "Sk",
                                        "So", "Z",  "Zs", "Zl", "Zp"};
    const size_t end = source_.find('}', at_);
    if (source_.compare(at_ + 2, 1, "{") != 0 || end == std::string::npos) refuse("a property without braces");
    const std::string name = source_.substr(at_ + 3, end - at_ - 3);
    if (std::find(std::begin(known), std::end(known), name) == std::end(known)) refuse("the property " + name);
    if (negated && in_class_) refuse(cat("\"\\P{", name, "}\" in a class"));
    put_class(cat("\\p{", name, "}", late_of(name)), negated);
    at_ = end + 1;
  }

  const std::string& source_;
  std::string out_;
  size_t at_ = 0, class_start_ = 0;
  bool in_class_ = false;
};

}  // namespace

struct MatchSpace::Parts {
  pcre2_match_data* data = pcre2_match_data_create(1, nullptr);
  pcre2_match_context* context = pcre2_match_context_create(nullptr);
  pcre2_jit_stack* stack = pcre2_jit_stack_create(kStackStart, kStackLimit, nullptr);

  Parts() {
    if (!data || !context) throw std::bad_alloc();
    if (stack) pcre2_jit_stack_assign(context, nullptr, stack);
    pcre2_set_match_limit(context, kNoLimit);
    pcre2_set_depth_limit(context, kNoLimit);
  }
  ~Parts() {
    pcre2_jit_stack_free(stack);
    pcre2_match_context_free(context);
    pcre2_match_data_free(data);
  }
};

MatchSpace::MatchSpace() : parts_(std::make_unique<Parts>()) {}
MatchSpace::~MatchSpace() = default;

struct Pattern::Code {
  pcre2_code* code = nullptr;
  bool jit = false;

  Code(const std::string& pattern, const std::string& shown) {
    const std::unique_ptr<pcre2_compile_context, void (*)(pcre2_compile_context*)> context(
        pcre2_compile_context_create(nullptr), pcre2_compile_context_free);
    if (!context) throw std::bad_alloc();
    pcre2_set_newline(context.get(), PCRE2_NEWLINE_LF);
    int error = 0;
    PCRE2_SIZE where = 0;
    code = pcre2_compile(reinterpret_cast<PCRE2_SPTR>(pattern.data()), pattern.size(),
                         PCRE2_UTF | PCRE2_UCP | PCRE2_MULTILINE, &error, &where, context.get());
    if (!code) {
      char message[256] = "";
      pcre2_get_error_message(error, reinterpret_cast<PCRE2_UCHAR*>(message), sizeof message);
      throw UserError(cat("the regular expression \"", shown, "\" is not well-formed: ", message));
    }
    jit = pcre2_jit_compile(code, PCRE2_JIT_COMPLETE) == 0;
  }
  ~Code() { pcre2_code_free(code); }
  Code(const Code&) = delete;
  Code& operator=(const Code&) = delete;
};

Pattern::Pattern(std::string source) : source_(std::move(source)) {
  const std::string exact = Translator(source_).translate();
  fast_ = std::make_unique<Code>(source_, source_);
  exact_ = std::make_unique<Code>(exact, source_);
  uint32_t empty = 0;
  pcre2_pattern_info(fast_->code, PCRE2_INFO_MATCHEMPTY, &empty);
  if (empty)
    throw UserError(cat("the regular expression \"", source_, "\" can match no character, which is not supported"));
}

Pattern Pattern::of_literal(std::string_view literal) {
  std::string escaped;
  for (const char c : literal) {
    if (c > 0 && std::ispunct(static_cast<unsigned char>(c))) escaped += '\\';
    escaped += c;
  }
  return Pattern(std::move(escaped));
}

Pattern::Pattern(Pattern&&) noexcept = default;
Pattern& Pattern::operator=(Pattern&&) noexcept = default;
Pattern::~Pattern() = default;

std::optional<std::pair<size_t, size_t>> Pattern::find(std::string_view text, size_t from, bool exact,
                                                       MatchSpace& space) const {
  if (from >= text.size()) return {};
  const Code& code = exact ? *exact_ : *fast_;
  const auto* subject = reinterpret_cast<PCRE2_SPTR>(text.data());
  auto& parts = *space.parts_;
  int found = code.jit ? pcre2_jit_match(code.code, subject, text.size(), from, PCRE2_NO_UTF_CHECK, parts.data,
                                         parts.context)
                       : PCRE2_ERROR_JIT_STACKLIMIT;
  // The interpreter keeps its state on the heap.
  if (found == PCRE2_ERROR_JIT_STACKLIMIT)
    found = pcre2_match(code.code, subject, text.size(), from, PCRE2_NO_UTF_CHECK | PCRE2_NO_JIT, parts.data,
                        parts.context);
  if (found == PCRE2_ERROR_NOMATCH) return {};
  if (found < 0) {
    char message[256] = "";
    pcre2_get_error_message(found, reinterpret_cast<PCRE2_UCHAR*>(message), sizeof message);
    throw UserError(cat("the regular expression \"", source_, "\" cannot be applied to a text of ", text.size(),
                        " bytes: ", message));
  }
  const PCRE2_SIZE* ends = pcre2_get_ovector_pointer(parts.data);
  return std::pair{ends[0], ends[1]};
}

}  // namespace pscale
