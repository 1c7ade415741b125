// Reading the command line of a program or of one of its commands.
#pragma once

#include <boost/program_options.hpp>
#include <optional>
#include <string>
#include <vector>

namespace pscale {

/// Options by name, and the other words in order.
struct CommandLine {
  boost::program_options::variables_map options;
  std::vector<std::string> words;

  bool has(const char* name) const { return options.contains(name); }
  template <class T>
  const T& get(const char* name) const {
    return options[name].as<T>();
  }
};

/// `command`: how it is called, "pscale_data prepare". `usage`: its words and what it does, for --help, which is added to
/// the options. Returns nothing where --help was answered. Throws UserError that points to --help.
std::optional<CommandLine> parse_command_line(const std::string& command, const std::string& usage,
                                              boost::program_options::options_description visible,
                                              const std::vector<std::string>& arguments);

}  // namespace pscale
