// Added tokens: strings that are found in a text before anything else and become one token each, special ones too.
// Follows AddedVocabulary of the `tokenizers` package. Immutable once built.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace pscale {

struct AddedToken {
  std::string content;
  int32_t id = 0;
  bool lstrip = false, rstrip = false;  ///< takes the blanks before it, behind it
  bool single_word = false;             ///< not within a word
  bool normalized = false;              ///< sought in the normalized text
  bool special = false;
};

/// Finds the leftmost, there the longest, of several strings.
class AddedTokenFinder {
 public:
  /// Seeks `content`, which stands for `token`. Of equal contents the first counts.
  void add(const std::string& content, AddedToken token);

  /// Calls `text` and `token` for the parts of `from` (valid UTF-8) in order.
  void split(std::string_view from, const std::function<void(std::string_view)>& text,
             const std::function<void(int32_t)>& token) const;

  /// Whether a line break between a letter or digit and a letter can be part of a token or of the blanks it takes.
  bool touches_line_breaks() const;

 private:
  struct Node {
    std::vector<std::pair<unsigned char, uint32_t>> next;  // by byte
    int32_t token = -1;                                    // index into tokens_
  };
  std::vector<Node> nodes_{1};
  std::vector<AddedToken> tokens_;
  bool starts_[256] = {};
};

}  // namespace pscale
