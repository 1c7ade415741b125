#include "data/tokenizer/tokenizer_folder.h"

#include <filesystem>

#include "core/base/durable_file.h"
#include "core/base/errors.h"

namespace pscale {

namespace fs = std::filesystem;

TokenizerFolder::TokenizerFolder(const std::string& prefix, const Tokenizer& tokenizer)
    : folder_(tokenizer_folder(prefix)), partial_(folder_ + ".partial"), any_(!tokenizer.files().empty()) {
  std::error_code ignored;
  fs::remove_all(partial_, ignored);
  if (!any_) return;
  make_folder_durably(partial_);
  try {
    for (const std::string& file : tokenizer.files()) {
      // The first one is the tokenizer, by whatever name it was given.
      const bool renamed = file == tokenizer.files()[0] && file.ends_with(".json");
      write_file_durably(fs::path(partial_) / (renamed ? "tokenizer.json" : fs::path(file).filename()), read_file(file));
    }
  } catch (...) {
    fs::remove_all(partial_, ignored);
    throw;
  }
}

TokenizerFolder::~TokenizerFolder() {
  if (published_) return;  // by now the folder may be another program's
  std::error_code ignored;
  fs::remove_all(partial_, ignored);
}

void TokenizerFolder::publish() {
  std::error_code error;
  fs::remove_all(folder_, error);
  if (error) throw UserError(cat(folder_, ": cannot be replaced: ", error.message()));
  if (any_) rename_durably(partial_, folder_);
  published_ = true;
}

std::unique_ptr<Tokenizer> tokenizer_of(const std::string& prefix, const std::string& name) {
  if (name == "bytes") return make_tokenizer(name);
  const std::string folder = tokenizer_folder(prefix);
  auto tokenizer = make_tokenizer(folder, "none");
  if (tokenizer->name() != name)
    throw UserError(cat(folder, ": is the tokenizer ", tokenizer->name(), ", but ", prefix, " was made with ", name));
  return tokenizer;
}

}  // namespace pscale
