#include "data/prepare.h"

#include <omp.h>

#include <algorithm>
#include <utility>

#include "core/base/errors.h"
#include "data/text/corpus_reader.h"
#include "data/text/json_field.h"
#include "data/token_file/token_file_writer.h"
#include "data/tokenizer/tokenizer_folder.h"
#include "data/tokenizer/unicode.h"

namespace pscale {
namespace {

constexpr size_t kProblems = 5;  // that are kept to be shown

TokenMeaning meaning_of(const Tokenizer& tokenizer, const PrepareOptions& options) {
  TokenMeaning meaning{tokenizer.name(), tokenizer.vocab_size(), {}, options.part};
  if (!options.append_eod) return meaning;
  meaning.end_of_document = tokenizer.end_of_document();
  if (!meaning.end_of_document)
    throw UserError("the files of the tokenizer do not tell which token ends a document: name it with "
                    "--end-of-document TOKEN, or do without one with --end-of-document none");
  return meaning;
}

/// Encodes batches with all threads and writes them in order.
class Encoder {
 public:
  Encoder(const Tokenizer& tokenizer, const PrepareOptions& options, TokenFileWriter& writer, PrepareProgress& progress)
      : tokenizer_(tokenizer),
        needs_utf8_(tokenizer.needs_utf8()),
        skip_bad_(options.skip_bad),
        field_(field_path(options.field)),
        writer_(writer),
        progress_(progress) {}

  void take(CorpusBatch& batch) {
    find_problems(batch.pieces);
    std::vector<std::vector<int32_t>> tokens = encode(batch.pieces);
    for (size_t k = 0; k < batch.pieces.size(); ++k) write(batch.pieces[k], tokens[k]);
    progress_.files = batch.files;
    progress_.bytes = batch.bytes;
    progress_.documents = writer_.documents();
    progress_.tokens = writer_.tokens();
  }

 private:
  /// Makes lines texts; notes what is wrong.
  void find_problems(std::vector<CorpusPiece>& pieces) const {
    const auto count = static_cast<std::ptrdiff_t>(pieces.size());
#pragma omp parallel for schedule(dynamic, 4)
    for (std::ptrdiff_t k = 0; k < count; ++k) {
      CorpusPiece& piece = pieces[static_cast<size_t>(k)];
      if (!piece.problem.empty()) continue;
      if (piece.file->format == TextFormat::lines) {
        std::string text;
        piece.problem = find_field(piece.text, field_, text);
        piece.text = std::move(text);
      } else if (needs_utf8_) {
        const size_t wrong = find_invalid_utf8(piece.text);
        if (wrong == std::string_view::npos) continue;
        constexpr char digits[] = "0123456789abcdef";
        const auto byte = static_cast<unsigned char>(piece.text[wrong]);
        piece.line += std::count(piece.text.begin(), piece.text.begin() + static_cast<std::ptrdiff_t>(wrong), '\n');
        piece.problem = cat("not UTF-8: byte 0x", digits[byte / 16], digits[byte % 16]);
      }
      if (!piece.problem.empty()) piece.text.clear();
    }
  }

  std::vector<std::vector<int32_t>> encode(std::vector<CorpusPiece>& pieces) const {
    std::vector<std::string_view> texts;
    for (const CorpusPiece& piece : pieces) texts.push_back(piece.text);
    try {
      return encode_batch(tokenizer_, texts);
    } catch (const UserError&) {
      // One by one, to find out which text it is.
      std::vector<std::vector<int32_t>> tokens(pieces.size());
      for (size_t k = 0; k < pieces.size(); ++k) try {
          tokenizer_.encode(pieces[k].text, tokens[k]);
        } catch (const UserError& wrong) {
          pieces[k].problem = wrong.what();
        }
      return tokens;
    }
  }

  void write(const CorpusPiece& piece, const std::vector<int32_t>& tokens) {
    if (piece.begins) leaves_out_ = false;
    if (!piece.problem.empty() && !leaves_out_) leave_out(piece);
    if (leaves_out_) return;
    if (piece.begins && piece.ends && piece.text.empty()) {
      ++progress_.empty;
      return;
    }
    writer_.append(tokens);
    if (piece.ends) writer_.end_document();
  }

  void leave_out(const CorpusPiece& piece) {
    if (!skip_bad_)
      throw UserError(cat(place_of(*piece.file, piece.line), piece.problem, "; --skip-bad leaves such documents out"));
    if (progress_.problems.size() < kProblems)
      progress_.problems.push_back(place_of(*piece.file, piece.line) + piece.problem);
    ++progress_.bad;
    leaves_out_ = true;
    writer_.drop_document();
  }

  const Tokenizer& tokenizer_;
  const bool needs_utf8_, skip_bad_;
  const std::vector<std::string> field_;
  TokenFileWriter& writer_;
  PrepareProgress& progress_;
  bool leaves_out_ = false;  // the pieces of the current document
};

}  // namespace

PrepareProgress prepare_tokens(const TextFiles& text, const Tokenizer& tokenizer, const PrepareOptions& options,
                               const std::function<void(const PrepareProgress&)>& report) {
  PrepareProgress progress;
  TokenFileWriter writer(options.prefix, meaning_of(tokenizer, options));
  TokenizerFolder folder(options.prefix, tokenizer);
  Encoder encoder(tokenizer, options, writer, progress);
  CorpusReading reading;
  reading.batch = static_cast<size_t>(std::max(2, omp_get_max_threads())) << 20;
  reading.cut = [&](std::string_view beginning) { return tokenizer.safe_cut(beginning); };
  CorpusReader reader(text, reading);
  for (CorpusBatch batch; reader.next(batch);) {
    encoder.take(batch);
    report(progress);
  }
  if (writer.documents() == 0 && options.part.empty())
    throw UserError(cat("no documents: the inputs hold no text (left out: ", progress.empty, " empty and ", progress.bad,
                        " bad documents); ", options.prefix, " stays as it was"));
  writer.finish([&] { folder.publish(); });
  return progress;
}

}  // namespace pscale
