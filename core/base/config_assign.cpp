#include "core/base/config_assign.h"

#include <algorithm>
#include <cmath>
#include <type_traits>

#include "core/base/config_text.h"
#include "core/base/errors.h"

namespace pscale {
namespace {

template <class T>
struct Unwrap {
  using type = T;
  static constexpr bool optional = false;
};
template <class T>
struct Unwrap<std::optional<T>> {
  using type = T;
  static constexpr bool optional = true;
};

// What the type is called, and what a value must be to have it.
template <class T>
const char* name_of_type() {
  if constexpr (std::is_same_v<T, bool>) return "boolean";
  if constexpr (std::is_same_v<T, int64_t>) return "integer";
  if constexpr (std::is_same_v<T, double>) return "number";
  if constexpr (std::is_same_v<T, std::string>) return "text";
  if constexpr (std::is_same_v<T, std::vector<int64_t>>) return "list of integers";
  if constexpr (std::is_same_v<T, std::vector<std::string>>) return "list of texts";
  if constexpr (std::is_same_v<T, WeightedPaths>) return "text, list of texts, or list of {path, weight}";
}

std::string convert(const ConfigValue& value, bool& into) {
  if (const auto* boolean = std::get_if<bool>(&value.data)) return into = *boolean, "";
  return "must be true or false";
}

std::string convert(const ConfigValue& value, int64_t& into) {
  if (const auto* integer = std::get_if<int64_t>(&value.data)) return into = *integer, "";
  if (const auto* number = std::get_if<double>(&value.data))
    if (std::abs(*number) < 9e15 && *number == std::floor(*number))
      return cat("must be an integer; write ", static_cast<int64_t>(*number));
  return "must be an integer";
}

std::string convert(const ConfigValue& value, double& into) {
  if (const auto* integer = std::get_if<int64_t>(&value.data))
    return into = static_cast<double>(*integer), "";
  if (const auto* number = std::get_if<double>(&value.data))
    return std::isfinite(*number) ? (into = *number, "") : "must be finite";
  return "must be a number";
}

std::string convert(const ConfigValue& value, std::string& into) {
  if (const auto* text = std::get_if<std::string>(&value.data)) return into = *text, "";
  if (value.typed) return into = *value.typed, "";
  return "must be text in quotes";
}

template <class T>
std::string convert(const ConfigValue& value, std::vector<T>& into) {
  const bool of_text = std::is_same_v<T, std::string>;
  const std::string wanted = of_text ? "must be a list of texts, such as [\"a\", \"b\"]"
                                     : "must be a list of integers, such as [0, 2]";
  const auto* items = std::get_if<ConfigArray>(&value.data);
  if (!items) return wanted;
  std::vector<T> list;
  for (const ConfigValue& item : *items)
    if (!convert(item, list.emplace_back()).empty()) return wanted;
  into = std::move(list);
  return "";
}

/// A source as text or as a table.
std::string convert(const ConfigValue& value, WeightedPath& into) {
  const ConfigTable* table = value.table();
  if (!table) return convert(value, into.path).empty() ? "" : "must be a path or {path = \"a\", weight = 1}";
  for (const auto& [key, item] : table->entries()) {
    std::string why;
    if (key == "path") {
      why = convert(item, into.path);
    } else if (key == "weight") {
      why = convert(item, into.weight.emplace());
      if (why.empty() && !(*into.weight > 0)) why = "must be above 0";
    } else {
      const std::string near = nearest(key, {"path", "weight"});
      return cat(key, " is unknown; ", near.empty() ? "the keys are path and weight" : cat("did you mean ", near, "?"));
    }
    if (!why.empty()) return cat(key, " = ", item.text(), " ", why);
  }
  return table->find("path") ? "" : "path is missing";
}

std::string convert(const ConfigValue& value, WeightedPaths& into) {
  if (const auto* text = std::get_if<std::string>(&value.data); text && text->empty()) return into.clear(), "";
  const auto* items = std::get_if<ConfigArray>(&value.data);
  if (!items) {
    if (value.table()) return "must be in a list: [{path = \"a\", weight = 1}, ...]";
    WeightedPath one;
    if (!convert(value, one).empty()) return "must be a path or a list, such as [{path = \"a\", weight = 0.7}, ...]";
    into = {std::move(one)};
    return "";
  }
  WeightedPaths list;
  for (const ConfigValue& item : *items) {
    WeightedPath& added = list.emplace_back();
    std::string why = convert(item, added);
    if (why.empty() && added.path.empty()) why = "the path is empty";
    for (size_t k = 0; why.empty() && k + 1 < list.size(); ++k)
      if (list[k].path == added.path) why = cat("names ", added.path, " again; give it once, with the sum of the weights");
    if (why.empty() && added.weight.has_value() != list[0].weight.has_value())
      why = "all sources have a weight, or none has one";
    const int line = item.location.line;
    if (!why.empty())
      return cat("in item ", list.size(), line > value.location.line ? cat(" (line ", line, ")") : "", ": ", why);
  }
  into = std::move(list);
  return "";
}

std::string broken(const ConfigRule&, const WeightedPath&) { return ""; }

std::string broken(const ConfigRule& rule, double value) {
  const bool low = rule.least && (rule.above_least ? !(value > *rule.least) : !(value >= *rule.least));
  const bool high = rule.most && (rule.below_most ? !(value < *rule.most) : !(value <= *rule.most));
  return low || high ? "must be " + rule.text() : "";
}

std::string broken(const ConfigRule& rule, const std::string& value) {
  const auto& choices = rule.choices;
  if (choices.empty() || std::find(choices.begin(), choices.end(), value) != choices.end()) return "";
  const std::string near = nearest(value, choices);
  return cat("must be ", rule.text(), near.empty() ? "" : cat("; did you mean \"", near, "\"?"));
}

std::string broken(const ConfigRule&, bool) { return ""; }
std::string broken(const ConfigRule& rule, int64_t value) { return broken(rule, static_cast<double>(value)); }

template <class T>
std::string broken(const ConfigRule& rule, const std::vector<T>& values) {
  for (const T& value : values)
    if (std::string why = broken(rule, value); !why.empty()) return "in each item " + why;
  return "";
}

bool is_none(const ConfigValue& value) {
  const auto* text = std::get_if<std::string>(&value.data);
  return value.is_null() || (text && *text == "none");
}

}  // namespace

bool is_optional(const ConfigTarget& target) {
  return std::visit([]<class T>(T*) { return Unwrap<T>::optional; }, target);
}

std::string type_name(const ConfigTarget& target) {
  return std::visit(
      []<class T>(T*) {
        return cat(name_of_type<typename Unwrap<T>::type>(), Unwrap<T>::optional ? " or none" : "");
      },
      target);
}

std::string assign(const ConfigField& field, const ConfigValue& value) {
  return std::visit(
      [&]<class T>(T* target) -> std::string {
        if constexpr (Unwrap<T>::optional) {
          if (is_none(value)) {
            target->reset();
            return "";
          }
        }
        typename Unwrap<T>::type converted{};
        std::string why = convert(value, converted);
        if (!why.empty()) return Unwrap<T>::optional ? why + ", or none" : why;
        why = broken(field.rule, converted);
        if (why.empty()) *target = std::move(converted);
        return why;
      },
      field.target);
}

}  // namespace pscale
