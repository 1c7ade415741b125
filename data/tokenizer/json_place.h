// A value of a JSON file that knows where it stands, so that errors name file and key. Read with it once, front to back.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>

#include "core/base/errors.h"

namespace pscale {

class JsonPlace {
 public:
  using Json = nlohmann::json;

  JsonPlace(std::string file, const Json& value) : file_(std::move(file)), value_(&value) {}

  const Json& value() const { return *value_; }
  const std::string& file() const { return file_; }

  [[noreturn]] void fail(const std::string& what) const {
    throw UserError(cat(file_, ": ", key_.empty() ? "" : cat(key_, ": "), what));
  }
  /// "... is VALUE, which is not supported", with what would be.
  [[noreturn]] void refuse(const std::string& instead = "") const {
    fail(cat(shown(), " is not supported", instead.empty() ? "" : cat(": ", instead)));
  }

  bool absent() const { return value_->is_null(); }
  /// The value of a key; null where it is missing.
  JsonPlace operator[](const char* key) const {
    static const Json none;
    if (!value_->is_object()) fail(cat(shown(), " is not an object"));
    const auto found = value_->find(key);
    return child(key_.empty() ? key : cat(key_, ".", key), found == value_->end() ? none : *found);
  }
  JsonPlace at(size_t index) const { return child(cat(key_, "[", index, "]"), (*value_)[index]); }
  size_t size() const {
    if (!value_->is_array()) fail(absent() ? "is missing" : cat(shown(), " is not a list"));
    return value_->size();
  }
  std::string text() const {
    if (!value_->is_string()) fail(absent() ? "is missing" : cat(shown(), " is not a text"));
    return value_->get<std::string>();
  }
  bool flag(bool otherwise) const {
    if (absent()) return otherwise;
    if (!value_->is_boolean()) fail(cat(shown(), " is neither true nor false"));
    return value_->get<bool>();
  }
  /// A token id.
  int32_t id() const {
    constexpr int64_t limit = 1 << 24;
    if (!value_->is_number_integer() || (value_->is_number_unsigned() && value_->get<uint64_t>() >= limit) ||
        value_->get<int64_t>() < 0)
      fail(absent() ? "is missing" : cat(shown(), " is not a token id from 0 to ", limit - 1));
    return value_->get<int32_t>();
  }

  /// The value, shortened.
  std::string shown() const {
    if (value_->is_object() || value_->is_array())
      if (value_->size() > 8) return value_->is_object() ? "an object" : "a list";
    std::string text = value_->dump(-1, ' ', false, Json::error_handler_t::replace);
    if (text.size() > 80) text = text.substr(0, 77) + "...";
    return text;
  }

 private:
  JsonPlace child(std::string key, const Json& value) const {
    JsonPlace place(file_, value);
    place.key_ = std::move(key);
    return place;
  }

  std::string file_, key_;
  const Json* value_;
};

}  // namespace pscale
