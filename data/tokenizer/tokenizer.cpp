#include "data/tokenizer/tokenizer.h"

#include <omp.h>

#include <algorithm>
#include <exception>
#include <filesystem>

#include "core/base/errors.h"
#include "data/tokenizer/byte_tokenizer.h"
#include "data/tokenizer/json_tokenizer.h"
#include "data/tokenizer/rank_tokenizer.h"

namespace pscale {
namespace {

constexpr size_t kPiece = size_t{256} << 10;  // bytes of a long text that one thread encodes at a time

struct Piece {
  size_t text;
  std::string_view part;
  std::vector<int32_t> tokens;
  std::exception_ptr error;
};

std::vector<Piece> cut(const Tokenizer& tokenizer, std::span<const std::string_view> texts) {
  std::vector<Piece> pieces;
  for (size_t k = 0; k < texts.size(); ++k) {
    std::string_view rest = texts[k];
    while (rest.size() > kPiece) {
      const size_t end = tokenizer.safe_cut(rest.substr(0, kPiece));
      if (end == 0) break;
      pieces.push_back({k, rest.substr(0, end), {}, {}});
      rest.remove_prefix(end);
    }
    pieces.push_back({k, rest, {}, {}});
  }
  return pieces;
}

}  // namespace

std::unique_ptr<Tokenizer> make_tokenizer(const std::string& name, const std::string& end_of_document) {
  if (name == "bytes") {
    if (!end_of_document.empty() && end_of_document != "none")
      throw UserError(cat("--end-of-document ", end_of_document,
                          ": the tokenizer bytes ends documents with its token 256; leave the option out, or say none"));
    return std::make_unique<ByteTokenizer>(end_of_document != "none");
  }
  std::error_code ignored;
  std::string file = name;
  if (std::filesystem::is_directory(name, ignored)) {
    file = (std::filesystem::path(name) / "tokenizer.json").string();
    if (!std::filesystem::exists(file, ignored)) {
      for (const auto& entry : std::filesystem::directory_iterator(name, ignored))
        if (entry.path().extension() == ".tiktoken") return read_rank_tokenizer(entry.path().string(), end_of_document);
    }
  }
  if (!std::filesystem::exists(file, ignored))
    throw UserError(cat("tokenizer \"", name, "\": ", file == name ? "" : cat(file, ": "),
                        "no such file; name a tokenizer.json, a folder that holds one, a .tiktoken file, or bytes"));
  if (file.ends_with(".tiktoken")) return read_rank_tokenizer(file, end_of_document);
  if (file.ends_with(".json")) return read_json_tokenizer(file, end_of_document);
  throw UserError(cat("tokenizer \"", name,
                      "\": this kind of file is not supported; name a tokenizer.json, a folder that holds one, a "
                      ".tiktoken file, or bytes"));
}

bool same_texts(const Tokenizer& a, const Tokenizer& b) {
  std::string left, right;
  for (int32_t id = 0; id < std::min(a.vocab_size(), b.vocab_size()); ++id) {
    left.clear();
    right.clear();
    a.decode({&id, 1}, left);
    b.decode({&id, 1}, right);
    if (left != right) return false;
  }
  return true;
}

std::vector<std::vector<int32_t>> encode_batch(const Tokenizer& tokenizer, std::span<const std::string_view> texts,
                                               int threads) {
  std::vector<Piece> pieces = cut(tokenizer, texts);
  const auto count = static_cast<std::ptrdiff_t>(pieces.size());
#pragma omp parallel for schedule(dynamic, 1) num_threads(threads > 0 ? threads : omp_get_max_threads())
  for (std::ptrdiff_t k = 0; k < count; ++k) {
    Piece& piece = pieces[static_cast<size_t>(k)];
    try {
      tokenizer.encode(piece.part, piece.tokens);
    } catch (...) {
      piece.error = std::current_exception();
    }
  }
  std::vector<std::vector<int32_t>> out(texts.size());
  for (Piece& piece : pieces) {
    if (piece.error) std::rethrow_exception(piece.error);
    auto& tokens = out[piece.text];
    if (tokens.empty())
      tokens = std::move(piece.tokens);
    else
      tokens.insert(tokens.end(), piece.tokens.begin(), piece.tokens.end());
  }
  return out;
}

}  // namespace pscale
