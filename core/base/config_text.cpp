#include "core/base/config_text.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <cstdio>

#include "core/base/errors.h"

namespace pscale {

std::string toml_text(const std::string& value) {
  std::string out = "\"";
  for (const char c : value) {
    switch (c) {
      case '"': out += "\\\""; break;
      case '\\': out += "\\\\"; break;
      case '\n': out += "\\n"; break;
      case '\r': out += "\\r"; break;
      case '\t': out += "\\t"; break;
      default:
        if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) {
          std::array<char, 8> code{};
          std::snprintf(code.data(), code.size(), "\\u%04X", static_cast<unsigned>(c));
          out += code.data();
        } else {
          out += c;
        }
    }
  }
  return out + '"';
}

std::string toml_text(double value) {
  if (std::isnan(value)) return "nan";
  if (std::isinf(value)) return value > 0 ? "inf" : "-inf";
  std::array<char, 40> digits{};
  const auto [end, error] = std::to_chars(digits.data(), digits.data() + digits.size(), value);
  PSCALE_CHECK(error == std::errc(), "a double in 40 characters");
  std::string out(digits.data(), end);
  if (out.find_first_of(".e") == std::string::npos) out += ".0";
  return out;
}

std::string toml_text(bool value) { return value ? "true" : "false"; }
std::string toml_text(int64_t value) { return cat(value); }

std::string toml_text(const WeightedPath& value) {
  if (!value.weight) return toml_text(value.path);
  return cat("{path = ", toml_text(value.path), ", weight = ", toml_text(*value.weight), "}");
}

std::string toml_text(const WeightedPaths& value) {
  if (value.empty()) return toml_text(std::string());
  if (value.size() == 1 && !value[0].weight) return toml_text(value[0]);
  std::vector<std::string> parts;
  for (const WeightedPath& item : value) parts.push_back(toml_text(item));
  return cat("[", join(parts, ", "), "]");
}

int64_t edit_distance(std::string_view a, std::string_view b) {
  // Three rows of the usual table: the swap looks two rows back.
  std::vector<int64_t> before(b.size() + 1), last(b.size() + 1), row(b.size() + 1);
  for (size_t j = 0; j <= b.size(); ++j) last[j] = static_cast<int64_t>(j);
  for (size_t i = 1; i <= a.size(); ++i) {
    row[0] = static_cast<int64_t>(i);
    for (size_t j = 1; j <= b.size(); ++j) {
      row[j] = std::min({last[j] + 1, row[j - 1] + 1, last[j - 1] + (a[i - 1] != b[j - 1])});
      if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
        row[j] = std::min(row[j], before[j - 2] + 1);
    }
    std::swap(before, last);
    std::swap(last, row);
  }
  return last[b.size()];
}

namespace {

/// Whether two keys share a word of three letters or more: batch_size and global_batch.
bool share_a_word(std::string_view a, std::string_view b) {
  const auto words = [](std::string_view text) {
    std::vector<std::string_view> parts;
    while (!text.empty()) {
      const size_t end = std::min(text.find('_'), text.size());
      if (end >= 3) parts.push_back(text.substr(0, end));
      text.remove_prefix(std::min(end + 1, text.size()));
    }
    return parts;
  };
  const auto in_a = words(a), in_b = words(b);
  return std::find_first_of(in_a.begin(), in_a.end(), in_b.begin(), in_b.end()) != in_a.end();
}

}  // namespace

std::string nearest(std::string_view word, const std::vector<std::string>& candidates) {
  const int64_t allowed =
      word.size() < 4 ? 1 : std::clamp<int64_t>(static_cast<int64_t>(word.size()) / 3, 2, 6);
  std::string best, related;
  int64_t best_distance = allowed + 1, related_distance = 0;
  for (const std::string& candidate : candidates) {
    const int64_t distance = edit_distance(word, candidate);
    if (distance < best_distance) {
      best = candidate;
      best_distance = distance;
    }
    if (share_a_word(word, candidate) && (related.empty() || distance < related_distance)) {
      related = candidate;
      related_distance = distance;
    }
  }
  return best.empty() ? related : best;
}

}  // namespace pscale
