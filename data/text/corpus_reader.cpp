#include "data/text/corpus_reader.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "core/base/errors.h"

namespace pscale {
namespace {

constexpr size_t kPiece = size_t{1} << 20;
constexpr size_t kAhead = 2;  // batches

int64_t lines_in(std::string_view text) { return std::count(text.begin(), text.end(), '\n'); }

bool is_blank(std::string_view line) { return line.find_first_not_of(" \t\r") == std::string_view::npos; }

/// The number of the first line that begins at byte file.begin or behind it: reads all that is before.
int64_t first_line(const TextFile& file) {
  int64_t number = 1;
  bool inside = false;  // a line that began before: the first one is behind it
  std::vector<char> buffer(kPiece);
  try {
    const auto source = open_bytes(file.path, Compression::none);
    for (int64_t at = 0; at < file.begin;) {
      const auto count = std::min<int64_t>(file.begin - at, static_cast<int64_t>(buffer.size()));
      const size_t got = source->read(buffer.data(), static_cast<size_t>(count));
      if (got == 0) break;
      number += lines_in({buffer.data(), got});
      inside = buffer[got - 1] != '\n';
      at += static_cast<int64_t>(got);
    }
  } catch (const BrokenStream&) {  // it was there a moment ago; a number that is too small helps, too
  }
  return number + inside;
}

}  // namespace

/// Reads one file after the other and hands over what is enough for a batch.
class CorpusReader::Gatherer {
 public:
  Gatherer(CorpusReader& reader, const CorpusReading& reading)
      : reader_(reader), reading_(reading), buffer_(kPiece) {}

  /// False where nobody wants more.
  bool read(const TextFile& file) {
    file_ = &file;
    line_ = 1;
    bytes_before_ = batch_.bytes;
    bool wanted = true;
    try {
      // A line belongs to the part in which it begins: whether one begins at the first byte, the byte before tells.
      const int64_t from = std::max<int64_t>(file.begin - 1, 0);
      source_ = file.standard_input ? open_standard_input(reader_.stop_) : open_bytes(file.path, file.compression, from);
      wanted = file.format == TextFormat::lines ? lines() : text();
    } catch (const BrokenStream& broken) {
      flush();
      throw UserError(place_of(file, line_) + broken.what());
    }
    ++batch_.files;
    return wanted;
  }

  bool flush() {
    batch_bytes_ = 0;
    CorpusBatch full = {std::exchange(batch_.pieces, {}), batch_.files, batch_.bytes};
    return reader_.put(std::move(full));
  }

 private:
  std::string_view fetch() {
    const size_t got = source_->read(buffer_.data(), buffer_.size());
    batch_.bytes = bytes_before_ + std::min(source_->consumed(), file_->end - file_->begin);
    return {buffer_.data(), got};
  }

  bool add(CorpusPiece piece) {
    batch_bytes_ += piece.text.size() + sizeof piece;
    batch_.pieces.push_back(std::move(piece));
    return batch_bytes_ < reading_.batch || flush();
  }

  bool lines() {
    std::string line;
    bool skips = file_->begin > 0, too_long = false;
    int64_t at = std::max<int64_t>(file_->begin - 1, 0);  // of the file
    int64_t begin = at;                                   // of the line
    for (std::string_view rest = fetch(); !rest.empty(); rest = fetch()) {
      while (!rest.empty()) {
        const size_t end = std::min(rest.find('\n'), rest.size());
        const bool ends = end < rest.size();
        if (!skips && !too_long) line.append(rest.substr(0, end));
        too_long = too_long || line.size() > reading_.longest;
        if (too_long) line.clear();
        at += static_cast<int64_t>(end + ends);
        rest.remove_prefix(end + ends);
        if (!ends) continue;
        if (!skips) {
          if (!add_line(std::exchange(line, {}), too_long)) return false;
          ++line_;
        }
        skips = too_long = false;
        begin = at;
        if (begin >= file_->end) return true;
      }
    }
    // The last line may lack its end.
    return skips || add_line(std::move(line), too_long);
  }

  bool add_line(std::string line, bool too_long) {
    CorpusPiece piece{file_, line_, std::move(line), true, true, {}};
    if (too_long) piece.problem = cat("longer than ", reading_.longest >> 20, " MiB");
    else if (is_blank(piece.text)) return true;
    return add(std::move(piece));
  }

  bool text() {
    std::string text;
    size_t tried = 0;  // where there is no place to cut, the next look is after twice as much
    bool begins = true;
    const auto take = [&](size_t end, bool ends) {
      CorpusPiece piece{file_, line_, text.substr(0, end), begins, ends, {}};
      text.erase(0, end);
      begins = false;
      line_ += lines_in(piece.text);
      return add(std::move(piece));
    };
    for (std::string_view piece = fetch(); !piece.empty(); piece = fetch()) {
      text += piece;
      if (text.size() < std::max(reading_.batch, tried)) continue;
      if (const size_t end = reading_.cut ? reading_.cut(text) : 0; end > 0) {
        tried = 0;
        if (!take(end, false)) return false;
      } else if (text.size() > reading_.longest) {
        CorpusPiece bad{file_, line_, {}, begins, true, {}};
        bad.problem = cat("a document that the tokenizer cannot cut, of more than ", reading_.longest >> 20, " MiB; give it as several");
        return add(std::move(bad));
      } else {
        tried = 2 * text.size();
      }
    }
    return take(text.size(), true);
  }

  CorpusReader& reader_;
  const CorpusReading& reading_;
  std::vector<char> buffer_;
  std::unique_ptr<ByteSource> source_;
  const TextFile* file_ = nullptr;
  int64_t line_ = 1, bytes_before_ = 0;
  CorpusBatch batch_;
  size_t batch_bytes_ = 0;
};

CorpusReader::CorpusReader(const TextFiles& files, CorpusReading reading)
    : files_(files), reading_(std::move(reading)), thread_([this] { run(); }) {}

CorpusReader::~CorpusReader() {
  {
    const std::lock_guard lock(mutex_);
    stop_ = true;
  }
  changed_.notify_all();
  thread_.join();
}

void CorpusReader::run() {
  try {
    Gatherer gatherer(*this, reading_);
    bool wanted = true;
    for (size_t k = 0; wanted && k < files_.files.size(); ++k) wanted = gatherer.read(files_.files[k]);
    if (wanted) gatherer.flush();
  } catch (...) {
    const std::lock_guard lock(mutex_);
    error_ = std::current_exception();
  }
  {
    const std::lock_guard lock(mutex_);
    done_ = true;
  }
  changed_.notify_all();
}

bool CorpusReader::put(CorpusBatch batch) {
  {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return stop_ || ready_.size() < kAhead; });
    if (stop_) return false;
    ready_.push_back(std::move(batch));
  }
  changed_.notify_all();
  return true;
}

bool CorpusReader::next(CorpusBatch& batch) {
  {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return done_ || !ready_.empty(); });
    if (ready_.empty()) {
      if (error_) std::rethrow_exception(error_);
      return false;
    }
    batch = std::move(ready_.front());
    ready_.pop_front();
  }
  changed_.notify_all();
  return true;
}

std::string place_of(const TextFile& file, int64_t line) {
  return cat(file.path, ": line ", line + (file.begin > 0 ? first_line(file) - 1 : 0), ": ");
}

}  // namespace pscale
