// Joins token files that were prepared in parts: the work of pscale_data merge.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

namespace pscale {

struct MergedFiles {
  int64_t documents = 0, tokens = 0;
};

/// Writes the documents of all parts, in their order, to the token files `prefix`, with the parts' tokenizer beside them:
/// byte by byte what preparing all at once gives. `report` is called with the bytes of .bin files done and of all.
/// `prefix` may be one of the parts. Throws UserError where the parts were not made with the same tokenizer, vocabulary
/// and end of document; then nothing is left behind.
MergedFiles merge_token_files(const std::string& prefix, const std::vector<std::string>& parts,
                              const std::function<void(int64_t done, int64_t all)>& report);

}  // namespace pscale
