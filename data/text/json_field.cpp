#include "data/text/json_field.h"

#include <nlohmann/json.hpp>

#include "core/base/errors.h"

namespace pscale {
namespace {

using Json = nlohmann::json;

/// Follows the path through the events of the parser, so that nothing but the text is kept.
class FieldFinder : public nlohmann::json_sax<Json> {
 public:
  FieldFinder(const std::vector<std::string>& path, std::string& text) : path_(path), text_(text) {}

  bool null() override { return other("null"); }
  bool boolean(bool) override { return other("true or false"); }
  bool number_integer(number_integer_t) override { return other("a number"); }
  bool number_unsigned(number_unsigned_t) override { return other("a number"); }
  bool number_float(number_float_t, const string_t&) override { return other("a number"); }
  bool binary(binary_t&) override { return other("binary"); }
  bool string(string_t& value) override {
    if (!next_is_ours_ || followed_ + 1 < path_.size()) return other("a string");
    next_is_ours_ = false;
    text_ = std::move(value);
    found_ = true;
    instead_ = nullptr;
    return true;
  }
  bool start_object(size_t) override {
    if (next_is_ours_ && followed_ + 1 < path_.size()) {
      ++followed_;
      next_is_ours_ = false;
    } else if (depth_ > 0) {
      other("an object");
    }
    ++depth_;
    return true;
  }
  bool key(string_t& name) override {
    next_is_ours_ = depth_ == followed_ + 1 && name == path_[followed_];
    return true;
  }
  bool end_object() override {
    if (depth_ == followed_ + 1 && followed_ > 0) --followed_;
    --depth_;
    return true;
  }
  bool start_array(size_t) override {
    other(depth_ == 0 ? nullptr : "a list");
    ++depth_;
    return true;
  }
  bool end_array() override {
    --depth_;
    return true;
  }
  bool parse_error(size_t, const std::string&, const nlohmann::detail::exception& wrong) override {
    error_ = wrong.what();
    // The parser counts within one line; "[json.exception...]" and "line 1" tell a user nothing.
    if (const size_t begin = error_.find("] "); begin != std::string::npos) error_.erase(0, begin + 2);
    if (const size_t line = error_.find("at line 1, "); line != std::string::npos) error_.erase(line, 11);
    // What was read last may be as long as the line.
    if (const size_t last = error_.find("; last read: "); last != std::string::npos) {
      const size_t expected = error_.rfind("; expected ");
      error_.erase(last, expected == std::string::npos || expected < last ? std::string::npos : expected - last);
    }
    return false;
  }

  std::string problem() const {
    if (!error_.empty()) return cat("not JSON: ", error_);
    if (whole_) return cat("not a JSON object but ", whole_);
    if (instead_) return cat("field \"", join(path_, "."), "\" is not a string: ", instead_, " is there");
    return found_ ? "" : cat("has no field \"", join(path_, "."), "\"");
  }

 private:
  bool other(const char* kind) {
    if (depth_ == 0) whole_ = kind ? kind : "a list";
    if (next_is_ours_) {
      instead_ = kind;
      found_ = false;
    }
    next_is_ours_ = false;
    return true;
  }

  const std::vector<std::string>& path_;
  std::string& text_;
  size_t depth_ = 0;     // containers around the place
  size_t followed_ = 0;  // keys of the path that led here
  bool next_is_ours_ = false, found_ = false;
  const char* whole_ = nullptr;    // what the line is instead of an object
  const char* instead_ = nullptr;  // what the field is instead of a string
  std::string error_;
};

}  // namespace

std::vector<std::string> field_path(const std::string& field) {
  std::vector<std::string> path;
  for (size_t begin = 0; begin <= field.size();) {
    const size_t end = std::min(field.find('.', begin), field.size());
    path.push_back(field.substr(begin, end - begin));
    if (path.back().empty())
      throw UserError(cat("--field \"", field, "\": name a field of the lines, such as text or content.body"));
    begin = end + 1;
  }
  return path;
}

std::string find_field(std::string_view line, const std::vector<std::string>& path, std::string& text) {
  // The parser takes a zero byte for the end.
  if (line.find('\0') != std::string_view::npos) return "not JSON: it has a zero byte";
  FieldFinder finder(path, text);
  Json::sax_parse(line.begin(), line.end(), &finder);
  return finder.problem();
}

}  // namespace pscale
