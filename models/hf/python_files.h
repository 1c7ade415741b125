// The Python files of models/hf, kept in the programs so that an installed one can write them beside a model.
#pragma once

#include <span>
#include <string_view>

namespace pscale {

struct PythonFile {
  std::string_view name, text;
};

std::span<const PythonFile> python_files();

}  // namespace pscale
