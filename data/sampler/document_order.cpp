#include "data/sampler/document_order.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>

#include "core/base/errors.h"
#include "core/base/hash.h"
#include "data/files/output_file.h"

namespace pscale {
namespace {

namespace fs = std::filesystem;

constexpr uint64_t kBlock = 16;                     // places between two numbers
constexpr uint64_t kTogether = uint64_t{1} << 17;   // documents of a group of epochs, about
constexpr uint64_t kMagic = 0x3130524452435350;     // "PSCRDR01"

struct Header {
  uint64_t magic = kMagic;
  uint64_t key = 0, epochs = 0, documents = 0, tokens = 0, hash = 0;
  bool operator==(const Header&) const = default;
};

Permutation order_of(uint64_t documents, uint64_t seed, uint64_t epoch) {
  return {documents, seed, epoch, "order of the documents"};
}

/// One process at a time; others wait. Does nothing where the file system has no locks.
class Lock {
 public:
  explicit Lock(const std::string& path) : file_(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0666)) {
    if (file_ < 0) return;
    while (::flock(file_, LOCK_EX) != 0 && errno == EINTR) {
    }
  }
  ~Lock() {
    if (file_ >= 0) ::close(file_);
  }
  Lock(const Lock&) = delete;
  Lock& operator=(const Lock&) = delete;

 private:
  int file_;
};

}  // namespace

DocumentOrder::DocumentOrder(const TokenFile& file, int64_t first, int64_t last, uint64_t seed)
    : file_(&file),
      first_(first),
      last_(last),
      tokens_(file.document_begin(last) - file.document_begin(first)),
      seed_(seed),
      fingerprint_(file.fingerprint()),
      epochs_(std::max<uint64_t>(1, kTogether / static_cast<uint64_t>(last - first))) {
  PSCALE_CHECK(first < last && tokens_ > 0, first, " to ", last, ": ", tokens_);
}

uint64_t DocumentOrder::blocks() const { return (documents() + kBlock - 1) / kBlock; }

uint64_t DocumentOrder::key(uint64_t group) const {
  const uint64_t inputs[] = {kMagic, kBlock, epochs_,    fingerprint_, static_cast<uint64_t>(first_), static_cast<uint64_t>(last_),
                             seed_,  group};
  return hash_of(inputs, sizeof inputs);
}

std::string DocumentOrder::path(uint64_t epoch) const {
  return cat(file_->prefix(), ".cache/order-", to_hex(key(epoch / epochs_)), ".index");
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

std::unique_ptr<DocumentOrder::Index> DocumentOrder::read(uint64_t group) const {
  const std::string path = this->path(group * epochs_);
  std::error_code ignored;
  if (!fs::exists(path, ignored)) return nullptr;
  auto index = std::make_unique<Index>();
  try {
    index->file = std::make_unique<MappedFile>(path);
  } catch (const UserError&) {
    return nullptr;
  }
  const size_t bytes = epochs_ * blocks() * sizeof(int64_t);
  if (static_cast<size_t>(index->file->size()) != sizeof(Header) + bytes) return nullptr;
  Header found;
  std::memcpy(&found, index->file->data(), sizeof found);
  const unsigned char* numbers = index->file->data() + sizeof(Header);
  const Header wanted{kMagic, key(group), epochs_, documents(), static_cast<uint64_t>(tokens_), hash_of(numbers, bytes)};
  if (!(found == wanted)) return nullptr;
  index->before = reinterpret_cast<const int64_t*>(numbers);  // a mapping is aligned
  return index;
}

void DocumentOrder::write(uint64_t group, const std::vector<int64_t>& before) const {
  const size_t bytes = before.size() * sizeof(int64_t);
  OutputFile file(path(group * epochs_));
  file.write_value(
      Header{kMagic, key(group), epochs_, documents(), static_cast<uint64_t>(tokens_), hash_of(before.data(), bytes)});
  file.write(before.data(), bytes);
  file.publish();
}

DocumentOrder::SharedIndex DocumentOrder::open(uint64_t group) const {
  if (auto kept = read(group)) return kept;
  const fs::path folder = fs::path(path(group * epochs_)).parent_path();
  std::error_code ignored;
  fs::create_directory(folder, ignored);
  const Lock lock(folder / "lock");
  if (auto kept = read(group)) return kept;  // made while this process waited
  auto index = std::make_shared<Index>();
  index->own = compute(group);
  try {
    write(group, index->own);
    if (auto kept = read(group)) return kept;
  } catch (const UserError&) {
    // A full disk, or a folder that may only be read: the run goes on without.
  }
  index->before = index->own.data();
  return index;
}

DocumentOrder::SharedIndex DocumentOrder::index(uint64_t group) const {
  const std::lock_guard guard(mutex_);
  for (const auto& [number, index] : recent_)
    if (number == group) return index;
  SharedIndex index = open(group);
  if (recent_.size() == 2) recent_.erase(recent_.begin());
  recent_.emplace_back(group, index);
  return index;
}

DocumentOrder::Cursor DocumentOrder::at(uint64_t epoch, int64_t token) const {
  PSCALE_CHECK(token >= 0 && token < tokens_, token, " of ", tokens_);
  const SharedIndex index = this->index(epoch / epochs_);
  const int64_t* begin = index->before + epoch % epochs_ * blocks();
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
