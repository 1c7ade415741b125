// pscale_data prepare | merge | inspect | encode | decode: text to token files, and what is in them.
#include <algorithm>
#include <iostream>
#include <string>
#include <vector>

#include "core/base/errors.h"
#include "launch/data/encode.h"
#include "launch/data/inspect.h"
#include "launch/data/merge.h"
#include "launch/data/prepare.h"
#include "launch/program.h"

namespace {

using namespace pscale;

constexpr const char* kUsage =
    "Text to token files for training, and a look at them.\n\n"
    "  pscale_data prepare --tokenizer T --out PREFIX INPUT...   files, folders or - -> PREFIX.bin, .idx, .meta.json\n"
    "  pscale_data merge --out PREFIX PART...                    token files prepared in parts -> one\n"
    "  pscale_data inspect PREFIX                                what token files hold\n"
    "  pscale_data encode --tokenizer T                          a text per line on standard input -> ids per line\n"
    "  pscale_data decode --tokenizer T                          ids per line on standard input -> a text per line\n\n"
    "T is a tokenizer.json of Hugging Face, the folder of one, a .tiktoken file of Qwen, or bytes.\n"
    "pscale_data COMMAND --help lists the options of a command.\n";

int run(int argc, char** argv) {
  std::ios::sync_with_stdio(false);
  const std::string command = argc > 1 ? argv[1] : "";
  const std::vector<std::string> arguments(argv + std::min(argc, 2), argv + argc);
  if (command == "prepare") return prepare_files(arguments);
  if (command == "merge") return merge_files(arguments);
  if (command == "inspect") return inspect_files(arguments);
  if (command == "encode") return encode_lines(arguments);
  if (command == "decode") return decode_lines(arguments);
  if (command == "--help" || command == "-h" || command == "help") {
    std::cout << kUsage;
    return kExitDone;
  }
  throw UserError(cat(command.empty() ? "a command is missing" : cat("\"", command, "\" is no command"),
                      ": prepare, merge, inspect, encode or decode; see pscale_data --help"));
}

}  // namespace

int main(int argc, char** argv) {
  return run_program([&] { return run(argc, argv); });
}
