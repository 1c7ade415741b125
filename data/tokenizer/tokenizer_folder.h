// PREFIX.tokenizer: the files of the tokenizer that made PREFIX.bin, kept beside it so that its ids can be read for as
// long as it lies there. A tokenizer without files has no such folder.
#pragma once

#include <memory>
#include <string>

#include "data/tokenizer/tokenizer.h"

namespace pscale {

inline std::string tokenizer_folder(const std::string& prefix) { return prefix + ".tokenizer"; }

class TokenizerFolder {
 public:
  /// Copies the tokenizer's files to PREFIX.tokenizer.partial. Throws UserError where that cannot be done.
  TokenizerFolder(const std::string& prefix, const Tokenizer& tokenizer);
  /// Removes the copies unless publish() was called.
  ~TokenizerFolder();
  TokenizerFolder(const TokenizerFolder&) = delete;
  TokenizerFolder& operator=(const TokenizerFolder&) = delete;

  /// Gives the folder its name, in place of an older one.
  void publish();

 private:
  std::string folder_, partial_;
  bool any_, published_ = false;
};

/// The tokenizer that `name` of PREFIX.meta.json means: "bytes", or that of PREFIX.tokenizer. It does not tell what ends a
/// document: PREFIX.meta.json does. Throws UserError where
/// the folder is missing or holds another tokenizer.
std::unique_ptr<Tokenizer> tokenizer_of(const std::string& prefix, const std::string& name);

}  // namespace pscale
