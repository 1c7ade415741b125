#include "data/tokenizer/tokenizer.h"

#include "core/base/errors.h"
#include "data/tokenizer/byte_tokenizer.h"

namespace pscale {

std::unique_ptr<Tokenizer> make_tokenizer(const std::string& name) {
  if (name == "bytes") return std::make_unique<ByteTokenizer>();
  throw UserError(cat("tokenizer \"", name,
                      "\": only \"bytes\" exists in this version, which reads no tokenizer files; "
                      "use --tokenizer bytes"));
}

}  // namespace pscale
