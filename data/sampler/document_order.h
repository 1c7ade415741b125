// The order of the documents, epoch after epoch, and where in that order a token is: what a stream of text that is
// permuted by document needs for random access.
//
// Epoch e has document first + Permutation(documents, seed, e)[p] at place p, so the order itself is a formula. What is
// stored are the tokens before every 16th place of an epoch, for as many epochs together as hold about 2^17 documents, at
// least one: [epochs][ceil(documents / 16)] numbers, found once and kept (data/sampler/cached_numbers.h) in
//
//   PREFIX.cache/order-KEY.index     KEY: hash of PREFIX.idx, the documents, the seed, the number of the group
#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "data/sampler/cached_numbers.h"
#include "data/sampler/permutation.h"
#include "data/token_file/token_file.h"

namespace pscale {

class DocumentOrder {
 public:
  /// Documents `first` to `last` - 1 of `file`, which must outlive this and hold at least one token there.
  DocumentOrder(const TokenFile& file, int64_t first, int64_t last, uint64_t seed);

  /// A document and a place in it, on the way through an epoch and into the next.
  class Cursor {
   public:
    int64_t token() const { return begin_ + offset_; }  ///< of the file
    int64_t left() const { return length_ - offset_; }  ///< tokens of the document from here on, at least 1
    /// To the beginning of the next document that has tokens.
    void next();

   private:
    friend class DocumentOrder;
    Cursor(const DocumentOrder& order, uint64_t epoch, uint64_t place);
    void enter();
    const DocumentOrder* order_;
    uint64_t epoch_, place_;
    Permutation permutation_;
    int64_t begin_ = 0, length_ = 0, offset_ = 0;
  };
  /// Where token `token` < tokens() of an epoch is. O(log documents). Any thread; the first of a group of epochs waits for
  /// its index. Throws UserError where the index does not fit the token files.
  Cursor at(uint64_t epoch, int64_t token) const;

  int64_t tokens() const { return tokens_; }  ///< of an epoch
  uint64_t epochs_together() const { return epochs_; }
  /// The file that holds the index of an epoch; it need not exist.
  std::string path(uint64_t epoch) const;

 private:
  using SharedIndex = std::shared_ptr<const CachedNumbers>;
  uint64_t documents() const { return static_cast<uint64_t>(last_ - first_); }
  uint64_t blocks() const;
  uint64_t key(uint64_t group) const;
  SharedIndex index(uint64_t group) const;
  std::vector<int64_t> compute(uint64_t group) const;

  const TokenFile* file_;
  int64_t first_, last_, tokens_;
  uint64_t seed_, index_hash_, epochs_;
  mutable std::mutex mutex_;
  mutable std::vector<std::pair<uint64_t, SharedIndex>> recent_;  // of the last two groups asked for
};

}  // namespace pscale
