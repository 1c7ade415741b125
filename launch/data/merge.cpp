#include "launch/data/merge.h"

#include <iostream>
#include <optional>

#include "core/base/errors.h"
#include "data/token_file/merge.h"
#include "launch/command_line.h"
#include "launch/metrics/byte_progress.h"
#include "launch/program.h"

namespace pscale {

int merge_files(const std::vector<std::string>& arguments) {
  namespace options = boost::program_options;
  options::options_description visible("Options");
  visible.add_options()("out", options::value<std::string>(), "path of the joined token files without .bin and .idx");
  const auto given =
      parse_command_line("pscale_data merge",
                         "--out PREFIX PART...\n\n"
                         "Joins token files in the order given: with all parts of prepare --part I/N, in order, the\n"
                         "result is that of preparing at once. The parts stay.",
                         visible, arguments);
  if (!given) return kExitDone;
  std::vector<std::string> problems;
  if (!given->has("out")) problems.push_back("--out is missing: the path of the joined token files without .bin and .idx");
  if (given->words.empty()) problems.push_back("parts are missing: name token files, without .bin and .idx");
  if (!problems.empty()) throw UserError(std::move(problems));
  const std::string prefix = given->get<std::string>("out");
  if (prefix.empty() || prefix.ends_with('/')) throw UserError(cat("--out ", prefix, ": name a file, not a folder"));

  std::optional<ByteProgress> display;
  const MergedFiles done = merge_token_files(prefix, given->words, [&](int64_t bytes, int64_t all) {
    if (!display) display.emplace(all);
    display->show(bytes);
  });
  display.reset();
  std::cout << prefix << ": " << done.documents << " documents, " << done.tokens << " tokens of " << given->words.size()
            << " parts\n";
  return kExitDone;
}

}  // namespace pscale
