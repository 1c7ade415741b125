#include "data/prepare.h"

#include <algorithm>

#include "core/base/errors.h"
#include "data/token_file/token_file_writer.h"

namespace pscale {
namespace {

constexpr int64_t kPiece = int64_t{1} << 20;

}  // namespace

PrepareProgress prepare_tokens(const TextFiles& text, const Tokenizer& tokenizer, bool append_eod,
                               const std::string& prefix,
                               const std::function<void(const PrepareProgress&)>& report) {
  TokenMeaning meaning{tokenizer.name(), tokenizer.vocab_size(), {}};
  if (append_eod) meaning.end_of_document = tokenizer.end_of_document();
  TokenFileWriter writer(prefix, meaning);
  PrepareProgress progress;
  std::vector<int32_t> tokens;
  std::string whole;
  int64_t reported = 0;
  const auto write = [&](std::string_view piece) {
    tokens.clear();
    tokenizer.encode(piece, tokens);
    writer.append(tokens);
  };
  for (const TextFile& file : text.files) {
    whole.clear();
    read_text(file.path, static_cast<size_t>(kPiece), [&](std::string_view piece) {
      if (tokenizer.encodes_in_pieces())
        write(piece);
      else
        whole += piece;
      progress.bytes += static_cast<int64_t>(piece.size());
      progress.tokens = writer.tokens();
      if (progress.bytes - reported < kPiece) return;
      reported = progress.bytes;
      report(progress);
    });
    if (!whole.empty()) write(whole);
    writer.end_document();
    progress = {progress.files + 1, progress.bytes, writer.documents(), writer.tokens()};
  }
  writer.finish();
  report(progress);
  return progress;
}

}  // namespace pscale
