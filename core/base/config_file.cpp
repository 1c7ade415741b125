#include <algorithm>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "core/base/config_read.h"
#include "core/base/errors.h"

namespace pscale {
namespace {

namespace fs = std::filesystem;

class FileReader {
 public:
  explicit FileReader(std::vector<std::string>& problems) : problems_(problems) {}

  /// `asked_by`: "FILE:LINE: " of the include that names the file, or empty.
  ConfigTable read(const fs::path& path, const std::string& asked_by) {
    std::error_code error;
    const fs::path real = fs::canonical(path, error);
    std::ifstream file(path);
    if (error || fs::is_directory(real) || !file) {
      problems_.push_back(cat(asked_by, "cannot read ", path.string(), ": ", reason(path)));
      return {};
    }
    if (std::find(open_.begin(), open_.end(), real) != open_.end()) {
      problems_.push_back(cat(asked_by, path.string(), " includes itself; take one of the includes out"));
      return {};
    }
    std::ostringstream text;
    text << file.rdbuf();
    ConfigTable own;
    try {
      own = parse_toml(text.str(), path.string());
    } catch (const UserError& malformed) {
      problems_.insert(problems_.end(), malformed.problems().begin(), malformed.problems().end());
      return {};
    }
    open_.push_back(real);
    ConfigTable all;
    if (const ConfigValue* include = own.find("include")) {
      for (const auto& [name, line] : included(*include))
        merge(all, read(path.parent_path() / name, line.text() + ": include: "));
      own.erase("include");
    }
    open_.pop_back();
    merge(all, own);
    return all;
  }

 private:
  static std::string reason(const fs::path& path) {
    std::error_code error;
    if (fs::is_directory(path, error)) return "it is a folder";
    return fs::exists(path, error) ? "no permission" : "there is no such file";
  }

  std::vector<std::pair<std::string, ConfigLocation>> included(const ConfigValue& include) {
    std::vector<std::pair<std::string, ConfigLocation>> names;
    const auto take = [&](const ConfigValue& value) {
      if (const auto* name = std::get_if<std::string>(&value.data); name && !name->empty()) {
        names.emplace_back(*name, value.location);
      } else {
        problems_.push_back(
            cat(value.location.text(), ": include = ", value.text(), " must be a list of files"));
      }
    };
    if (const auto* list = std::get_if<ConfigArray>(&include.data)) {
      for (const ConfigValue& item : *list) take(item);
    } else {
      take(include);
    }
    return names;
  }

  std::vector<std::string>& problems_;
  std::vector<fs::path> open_;  // the chain of includes that leads here
};

}  // namespace

ConfigTable read_config_file(const std::string& path, std::vector<std::string>& problems) {
  return FileReader(problems).read(path, "");
}

}  // namespace pscale
