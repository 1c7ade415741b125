#include "data/prepare.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "core/base/errors.h"
#include "data/token_file/token_file_writer.h"
#include "data/tokenizer/tokenizer_folder.h"

namespace pscale {
namespace {

constexpr int64_t kPiece = int64_t{1} << 20;
constexpr size_t kBatch = size_t{16} << 20;  // bytes of text that the threads encode together

/// Gathers text until there is enough for all threads, encodes it and writes it in order.
class Encoder {
 public:
  Encoder(const Tokenizer& tokenizer, TokenFileWriter& writer) : tokenizer_(tokenizer), writer_(writer) {}

  void begin(const std::string& path) {
    path_ = path;
    offset_ = 0;
    tried_ = kBatch;
  }

  void add(std::string_view piece) {
    text_ += piece;
    if (text_.size() < tried_) return;
    const size_t end = tokenizer_.safe_cut(text_);
    // Where there is no place to cut, the next look is after twice as much.
    if (end == 0) {
      tried_ = 2 * text_.size();
      return;
    }
    std::string rest = text_.substr(end);
    text_.resize(end);
    take(false);
    text_ = std::move(rest);
    tried_ = kBatch;
  }

  void end_document() { take(true); }

  void flush() {
    std::vector<std::string_view> texts;
    for (const Part& part : parts_) texts.push_back(part.text);
    std::vector<std::vector<int32_t>> tokens;
    try {
      tokens = encode_batch(tokenizer_, texts);
    } catch (const UserError&) {
      blame();
      throw;
    }
    for (size_t k = 0; k < parts_.size(); ++k) {
      writer_.append(tokens[k]);
      if (parts_[k].ends) writer_.end_document();
    }
    parts_.clear();
    bytes_ = 0;
  }

 private:
  struct Part {
    std::string path;
    int64_t offset;  // of the file, in bytes
    std::string text;
    bool ends;  // its document
  };

  void take(bool ends) {
    bytes_ += text_.size();
    const auto size = static_cast<int64_t>(text_.size());
    parts_.push_back({path_, offset_, std::exchange(text_, {}), ends});
    offset_ += size;
    if (bytes_ >= kBatch) flush();
  }

  /// Throws the first problem of the batch with the name of its file.
  void blame() const {
    for (const Part& part : parts_) {
      std::vector<int32_t> ignored;
      try {
        tokenizer_.encode(part.text, ignored);
      } catch (const UserError& wrong) {
        throw UserError(cat(part.path, ": ", part.offset > 0 ? cat("from byte ", part.offset, " on: ") : "", wrong.what()));
      }
    }
  }

  const Tokenizer& tokenizer_;
  TokenFileWriter& writer_;
  std::string path_, text_;  // of the current file, not yet taken
  int64_t offset_ = 0;
  size_t tried_ = kBatch, bytes_ = 0;
  std::vector<Part> parts_;
};

}  // namespace

PrepareProgress prepare_tokens(const TextFiles& text, const Tokenizer& tokenizer, bool append_eod,
                               const std::string& prefix,
                               const std::function<void(const PrepareProgress&)>& report) {
  TokenMeaning meaning{tokenizer.name(), tokenizer.vocab_size(), {}};
  if (append_eod) {
    meaning.end_of_document = tokenizer.end_of_document();
    if (!meaning.end_of_document)
      throw UserError("the files of the tokenizer do not tell which token ends a document: name it with "
                      "--end-of-document TOKEN, or do without one with --end-of-document none");
  }
  TokenFileWriter writer(prefix, meaning);
  TokenizerFolder folder(prefix, tokenizer);
  Encoder encoder(tokenizer, writer);
  PrepareProgress progress;
  int64_t reported = 0;
  for (const TextFile& file : text.files) {
    encoder.begin(file.path);
    read_text(file.path, static_cast<size_t>(kPiece), [&](std::string_view piece) {
      encoder.add(piece);
      progress.bytes += static_cast<int64_t>(piece.size());
      progress.tokens = writer.tokens();
      if (progress.bytes - reported < kPiece) return;
      reported = progress.bytes;
      report(progress);
    });
    encoder.end_document();
    ++progress.files;
  }
  encoder.flush();
  folder.publish();
  writer.finish();
  progress = {progress.files, progress.bytes, writer.documents(), writer.tokens()};
  report(progress);
  return progress;
}

}  // namespace pscale
