#include "launch/command_line.h"

#include <iostream>

#include "core/base/errors.h"

namespace pscale {

namespace options = boost::program_options;

std::optional<CommandLine> parse_command_line(const std::string& command, const std::string& usage,
                                              options::options_description visible,
                                              const std::vector<std::string>& arguments) {
  visible.add_options()("help,h", "this text");
  CommandLine line;
  options::options_description all;
  all.add(visible).add_options()("words", options::value(&line.words));
  options::positional_options_description positional;
  positional.add("words", -1);
  try {
    namespace style = options::command_line_style;
    options::store(options::command_line_parser(arguments)
                       .options(all)
                       .positional(positional)
                       .style(style::unix_style & ~style::allow_guessing)
                       .run(),
                   line.options);
    options::notify(line.options);
  } catch (const options::error& e) {
    throw UserError(cat(e.what(), "; see ", command, " --help"));
  }
  if (!line.has("help")) return line;
  std::cout << command << " " << usage << "\n\n" << visible;
  return std::nullopt;
}

}  // namespace pscale
