// Which token ends a document, from what is asked for and from the files beside a tokenizer.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

namespace pscale {

/// `wanted`: a token, "none", or empty to find out. Then the first that says so counts: eos_token of
/// tokenizer_config.json and of special_tokens_map.json, the (first) eos_token_id of generation_config.json and of
/// config.json, all in the folder of `file`; then <|endoftext|> or <|end_of_text|> if the tokenizer has it. Absent for
/// "none" and where nothing tells. Throws UserError where the token is not one of the tokenizer (`id_of` finds none).
std::optional<int32_t> find_end_of_document(const std::string& file, const std::string& wanted,
                                            const std::function<std::optional<int32_t>(const std::string&)>& id_of);

/// `file` and what people keep beside a tokenizer.json: those files that exist.
std::vector<std::string> tokenizer_files(const std::string& file);

}  // namespace pscale
