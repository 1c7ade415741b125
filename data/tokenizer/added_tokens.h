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

  /// Whether a token that lies across byte `cut` of `text`, or takes blanks from the other side of it, may be there.
  bool spans(std::string_view text, size_t cut) const;
  /// Bytes of the longest content.
  size_t longest() const { return longest_; }

 private:
  struct Node {
    std::vector<std::pair<unsigned char, uint32_t>> next;  // by byte
    int32_t token = -1;                                    // index into tokens_
  };
  const Node* follow(uint32_t node, char c) const;  // null where nothing goes on with that byte

  std::vector<Node> nodes_{1};
  std::vector<AddedToken> tokens_;
  bool starts_[256] = {};
  size_t longest_ = 0;
};

}  // namespace pscale
