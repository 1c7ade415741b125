// The text in one line of a JSONL file.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace pscale {

/// "text" -> {"text"}, "content.body" -> {"content", "body"}: the keys from the outermost object to the text. Throws
/// UserError where a key is empty.
std::vector<std::string> field_path(const std::string& field);

/// Finds the string at `path` in `line`, one JSON object of RFC 8259 in UTF-8. A key that comes twice counts where it
/// comes last. Returns what is wrong with the line, or nothing: then `text` holds the string. Any thread.
std::string find_field(std::string_view line, const std::vector<std::string>& path, std::string& text);

}  // namespace pscale
