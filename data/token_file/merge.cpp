#include "data/token_file/merge.h"

#include <cstdio>
#include <filesystem>
#include <optional>

#include "core/base/errors.h"
#include "data/token_file/token_file.h"
#include "data/token_file/token_file_writer.h"
#include "data/tokenizer/tokenizer_folder.h"

namespace pscale {
namespace {

std::string shown(const TokenMeaning& meaning) {
  return cat("tokenizer ", meaning.tokenizer, ", a vocabulary of ", meaning.vocab_size, " and ",
             meaning.end_of_document ? cat("token ", *meaning.end_of_document, " at the end of documents")
                                     : "no end of document");
}

/// What all parts mean by their ids; throws UserError naming each part that means something else than the first.
TokenMeaning common_meaning(const std::vector<TokenFile>& parts) {
  std::vector<std::string> problems;
  for (const TokenFile& part : parts) {
    if (!part.meaning())
      problems.push_back(cat(meta_path(part.prefix()),
                             ": no such file: which tokenizer made these token files is not known; merge joins what "
                             "pscale_data prepare made"));
    else if (parts[0].meaning() && shown(*part.meaning()) != shown(*parts[0].meaning()))
      problems.push_back(cat(part.prefix(), ": has ", shown(*part.meaning()), ", but ", parts[0].prefix(), " has ",
                             shown(*parts[0].meaning()), "; prepare all parts with the same options"));
    else if (part.type() != token_type_for(part.meaning()->vocab_size))
      problems.push_back(cat(part.prefix(), ": has tokens of type ", name_of(part.type()), " for a vocabulary of ",
                             part.meaning()->vocab_size, "; prepare it again"));
  }
  if (!problems.empty()) throw UserError(std::move(problems));
  return *parts[0].meaning();
}

/// Parts of a corpus make sense together: 1/N to N/N, one after the other.
void check_complete(const std::vector<TokenFile>& parts) {
  std::string expected;  // the next part of a corpus that has begun
  for (const TokenFile& file : parts) {
    const std::string& part = file.meaning()->part;
    const std::string wanted = expected;
    expected.clear();
    int number = 0, of = 0;
    if (!part.empty() && std::sscanf(part.c_str(), "%d/%d", &number, &of) == 2 && number < of)
      expected = cat(number + 1, "/", of);
    if (wanted.empty() ? number <= 1 : part == wanted) continue;
    throw UserError(cat(file.prefix(), ": is ", part.empty() ? "no part" : cat("part ", part), ", but here ",
                        wanted.empty() ? "a first part" : cat("part ", wanted),
                        " is due; name all parts of a corpus once, in their order"));
  }
  if (!expected.empty())
    throw UserError(cat(parts.back().prefix(), ": part ", expected, " must follow it; name all parts of a corpus"));
}

/// The tokenizer that lies beside one of the parts.
std::unique_ptr<Tokenizer> common_tokenizer(const std::vector<TokenFile>& parts, const std::string& name) {
  std::error_code ignored;
  for (const TokenFile& part : parts)
    if (name == "bytes" || std::filesystem::exists(tokenizer_folder(part.prefix()), ignored))
      return tokenizer_of(part.prefix(), name);
  throw UserError(cat(tokenizer_folder(parts[0].prefix()),
                      ": no such folder, nor beside any other part: copy it from where the part was prepared"));
}

}  // namespace

MergedFiles merge_token_files(const std::string& prefix, const std::vector<std::string>& parts,
                              const std::function<void(int64_t done, int64_t all)>& report) {
  std::vector<TokenFile> files;
  std::vector<std::string> problems;
  for (const std::string& part : parts) try {
      files.emplace_back(part);
    } catch (const UserError& wrong) {
      problems.insert(problems.end(), wrong.problems().begin(), wrong.problems().end());
    }
  if (!problems.empty()) throw UserError(std::move(problems));
  TokenMeaning meaning = common_meaning(files);
  check_complete(files);
  meaning.part.clear();
  const auto tokenizer = common_tokenizer(files, meaning.tokenizer);
  int64_t done = 0, all = 0;
  for (const TokenFile& file : files) all += static_cast<int64_t>(file.token_bytes().size());
  TokenFileWriter writer(prefix, meaning);
  TokenizerFolder folder(prefix, *tokenizer);
  for (const TokenFile& file : files) {
    writer.append_documents(file, [&](int64_t bytes) { report(done + bytes, all); });
    done += static_cast<int64_t>(file.token_bytes().size());
  }
  writer.finish([&] { folder.publish(); });
  return {writer.documents(), writer.tokens()};
}

}  // namespace pscale
