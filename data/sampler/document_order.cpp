#include "data/sampler/document_order.h"

#include <algorithm>

#include "core/base/errors.h"
#include "core/base/hash.h"

namespace pscale {
namespace {

constexpr uint64_t kBlock = 16;                     // places between two numbers
constexpr uint64_t kTogether = uint64_t{1} << 17;   // documents of a group of epochs, about

Permutation order_of(uint64_t documents, uint64_t seed, uint64_t epoch) {
  return {documents, seed, epoch, "order of the documents"};
}

}  // namespace

DocumentOrder::DocumentOrder(const TokenFile& file, int64_t first, int64_t last, uint64_t seed)
    : file_(&file),
      first_(first),
      last_(last),
      tokens_(file.document_begin(last) - file.document_begin(first)),
      seed_(seed),
      index_hash_(file.index_hash()),
      epochs_(std::max<uint64_t>(1, kTogether / static_cast<uint64_t>(last - first))) {
  PSCALE_CHECK(first < last && tokens_ > 0, first, " to ", last, ": ", tokens_);
}

uint64_t DocumentOrder::blocks() const { return (documents() + kBlock - 1) / kBlock; }

uint64_t DocumentOrder::key(uint64_t group) const {
  const uint64_t inputs[] = {kBlock, epochs_, index_hash_, static_cast<uint64_t>(first_), static_cast<uint64_t>(last_), seed_, group};
  return hash_of(inputs, sizeof inputs);
}

std::string DocumentOrder::path(uint64_t epoch) const {
  return cache_path(file_->prefix(), "order", key(epoch / epochs_));
}

std::vector<int64_t> DocumentOrder::compute(uint64_t group) const {
  std::vector<int64_t> before;
  before.reserve(epochs_ * blocks());
  for (uint64_t epoch = group * epochs_; epoch < (group + 1) * epochs_; ++epoch) {
    const Permutation permutation = order_of(documents(), seed_, epoch);
    int64_t sum = 0;
    for (uint64_t place = 0; place < documents(); ++place) {
      if (place % kBlock == 0) before.push_back(sum);
      const int64_t document = first_ + static_cast<int64_t>(permutation[place]);
      sum += file_->document_begin(document + 1) - file_->document_begin(document);
    }
    PSCALE_CHECK(sum == tokens_, sum, " of ", tokens_);
  }
  return before;
}

DocumentOrder::SharedIndex DocumentOrder::index(uint64_t group) const {
  const std::lock_guard guard(mutex_);
  for (const auto& [number, index] : recent_)
    if (number == group) return index;
  auto index = std::make_shared<const CachedNumbers>(path(group * epochs_), key(group), epochs_ * blocks(),
                                                           [&] { return compute(group); });
  if (recent_.size() == 2) recent_.erase(recent_.begin());
  recent_.emplace_back(group, index);
  return index;
}

DocumentOrder::Cursor DocumentOrder::at(uint64_t epoch, int64_t token) const {
  PSCALE_CHECK(token >= 0 && token < tokens_, token, " of ", tokens_);
  const SharedIndex index = this->index(epoch / epochs_);
  const int64_t* begin = index->begin() + epoch % epochs_ * blocks();
  const int64_t* block = std::upper_bound(begin, begin + blocks(), token) - 1;
  int64_t left = token - *block;
  Cursor cursor(*this, epoch, static_cast<uint64_t>(block - begin) * kBlock);
  const uint64_t end = std::min(cursor.place_ + kBlock, documents());
  while (left >= cursor.length_) {
    left -= cursor.length_;
    if (++cursor.place_ == end)
      throw UserError(cat(path(epoch), ": does not fit ", file_->prefix(), ".idx; remove it and start again"));
    cursor.enter();
  }
  cursor.offset_ = left;
  return cursor;
}

DocumentOrder::Cursor::Cursor(const DocumentOrder& order, uint64_t epoch, uint64_t place)
    : order_(&order), epoch_(epoch), place_(place), permutation_(order_of(order.documents(), order.seed_, epoch)) {
  enter();
}

void DocumentOrder::Cursor::enter() {
  const int64_t document = order_->first_ + static_cast<int64_t>(permutation_[place_]);
  begin_ = order_->file_->document_begin(document);
  length_ = order_->file_->document_begin(document + 1) - begin_;
  offset_ = 0;
}

void DocumentOrder::Cursor::next() {
  do {
    if (++place_ == order_->documents()) {
      place_ = 0;
      permutation_ = order_of(order_->documents(), order_->seed_, ++epoch_);
    }
    enter();
  } while (length_ == 0);
}

}  // namespace pscale
