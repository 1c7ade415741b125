#include "launch/sweep/run_name.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <charconv>
#include <cmath>

#include "core/base/hash.h"
#include "core/base/text.h"

namespace pscale {
namespace {

constexpr size_t kLongest = 120, kLongestValue = 48, kHashDigits = 8;

std::string short_hash(const std::string& text) {
  return to_hex(hash_of(text.data(), text.size())).substr(0, kHashDigits);
}

std::string safe(const std::string& text) {
  std::string out;
  for (const char c : text)
    out += std::isalnum(static_cast<unsigned char>(c)) || c == '.' || c == '_' || c == '-' ? c : '-';
  // A path is told by its last part, and what was lost by the hash.
  const size_t slash = text.find_last_of('/');
  if (slash != std::string::npos && slash + 1 < text.size()) out = out.substr(slash + 1);
  if (out == text && out.size() <= kLongestValue) return out;
  return cat(out.substr(0, kLongestValue - kHashDigits - 1), "-", short_hash(text));
}

/// The shorter of 0.0003 and 3e-4; the first where they are alike.
std::string number(double value) {
  if (!std::isfinite(value)) return cat(value);
  std::array<char, 400> digits{};
  auto end = std::to_chars(digits.data(), digits.data() + digits.size(), value, std::chars_format::fixed).ptr;
  const std::string fixed(digits.data(), end);
  end = std::to_chars(digits.data(), digits.data() + digits.size(), value, std::chars_format::scientific).ptr;
  std::string power(digits.data(), end);
  const size_t e = power.find('e');
  size_t first = e + 2;
  while (first + 1 < power.size() && power[first] == '0') ++first;
  power = power.substr(0, e + 1) + (power[e + 1] == '-' ? "-" : "") + power.substr(first);
  return power.size() < fixed.size() ? power : fixed;
}

}  // namespace

std::string name_of_value(const ConfigValue& value) {
  if (const auto* real = std::get_if<double>(&value.data)) return number(*real);
  if (const auto* text = std::get_if<std::string>(&value.data)) return text->empty() ? "empty" : safe(*text);
  if (const auto* items = std::get_if<ConfigArray>(&value.data)) {
    std::vector<std::string> parts;
    for (const ConfigValue& item : *items)
      parts.push_back(item.table() ? safe(value.text()) : name_of_value(item));
    return parts.empty() ? "empty" : safe(join(parts, "-"));
  }
  return safe(value.text());
}

std::string name_of_run(const std::string& variant,
                        const std::vector<std::pair<std::string, ConfigValue>>& values) {
  const auto last = [](const std::string& key) { return key.substr(key.rfind('.') + 1); };
  std::vector<std::string> parts;
  if (!variant.empty()) parts.push_back(safe(variant));
  for (const auto& [key, value] : values) {
    const auto alike = std::count_if(values.begin(), values.end(),
                                     [&](const auto& other) { return last(other.first) == last(key); });
    parts.push_back(cat(alike > 1 ? key : last(key), "=", name_of_value(value)));
  }
  if (parts.empty()) return "run";
  const std::string name = join(parts, ",");
  if (name.size() <= kLongest) return name;
  return cat(name.substr(0, kLongest - kHashDigits - 1), "-", short_hash(name));
}

}  // namespace pscale
