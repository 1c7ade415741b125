// pscale_data prepare | inspect | encode | decode: text to token files, and what is in them.
#include <algorithm>
#include <boost/program_options.hpp>
#include <iostream>
#include <memory>
#include <optional>

#include "core/base/errors.h"
#include "data/prepare.h"
#include "data/token_file/token_file.h"
#include "data/tokenizer/tokenizer.h"
#include "data/tokenizer/tokenizer_folder.h"
#include "launch/command_line.h"
#include "launch/data/encode.h"
#include "launch/metrics/byte_progress.h"
#include "launch/metrics/format.h"
#include "launch/program.h"

namespace {

namespace options = boost::program_options;
using namespace pscale;

constexpr const char* kUsage =
    "Text to token files for training, and a look at them.\n\n"
    "  pscale_data prepare --tokenizer T --out PREFIX INPUT...   files and folders -> PREFIX.bin, .idx, .meta.json\n"
    "  pscale_data inspect PREFIX                                what token files hold\n"
    "  pscale_data encode --tokenizer T                          a text per line on standard input -> ids per line\n"
    "  pscale_data decode --tokenizer T                          ids per line on standard input -> a text per line\n\n"
    "T is a tokenizer.json of Hugging Face, the folder of one, a .tiktoken file of Qwen, or bytes.\n"
    "pscale_data COMMAND --help lists the options of a command.\n";

/// What a command was given, or nothing where --help was answered.
using Given = std::optional<CommandLine>;

Given parse(const std::string& command, const std::string& usage, const options::options_description& visible,
            const std::vector<std::string>& arguments) {
  return parse_command_line("pscale_data " + command, usage, visible, arguments);
}

int prepare(const std::vector<std::string>& arguments) {
  options::options_description visible("Options");
  visible.add_options()("tokenizer", options::value<std::string>(),
                        "tokenizer.json of a byte-level BPE model, a folder that holds one, a .tiktoken file of Qwen, or "
                        "bytes: every byte is a token, 256 ends a document")(
      "end-of-document", options::value<std::string>()->default_value("", "as the tokenizer's files say"),
      "the token that ends a document, or none")(
      "out", options::value<std::string>(), "path of the token files without .bin and .idx")(
      "suffix", options::value<std::vector<std::string>>()->composing()->default_value({}, ""),
      "take only files with this ending from folders, such as .py; may be repeated")(
      "append-eod", options::value<bool>()->default_value(true, "on"),
      "on or off: whether each document ends with the end-of-document token");
  const Given given =
      parse("prepare",
            "--tokenizer FILE|bytes --out PREFIX INPUT...\n\n"
            "Each file becomes one document, in the order of the inputs and, within folders, of their\n"
            "paths. From folders hidden, binary and empty files are left out. The tokenizer's files are\n"
            "kept in PREFIX.tokenizer.",
            visible, arguments);
  if (!given) return kExitDone;
  std::vector<std::string> problems;
  if (!given->has("tokenizer")) problems.push_back("--tokenizer is missing: prepare --tokenizer FILE, or --tokenizer bytes");
  if (!given->has("out"))
    problems.push_back("--out is missing: the path of the token files without .bin and .idx");
  if (given->words.empty()) problems.push_back("inputs are missing: name files or folders");
  if (!problems.empty()) throw UserError(std::move(problems));
  const std::string prefix = given->get<std::string>("out");
  if (prefix.empty() || prefix.ends_with('/'))
    throw UserError(cat("--out ", prefix, ": name a file, not a folder"));

  const auto& end = given->get<std::string>("end-of-document");
  const auto tokenizer = make_tokenizer(given->get<std::string>("tokenizer"), end);
  const bool append_eod = given->get<bool>("append-eod") && end != "none";
  const TextFiles text = find_text_files(given->words, given->get<std::vector<std::string>>("suffix"));
  ByteProgress display(text.bytes);
  const PrepareProgress done =
      prepare_tokens(text, *tokenizer, append_eod, prefix, [&](const PrepareProgress& progress) {
        display.show(progress.bytes, cat(format_count(static_cast<double>(progress.tokens)), " tokens"));
      });
  display.clear();
  const double seconds = display.seconds();
  std::cout << prefix << ": " << done.documents << " documents, " << done.tokens << " tokens from "
            << format_bytes(static_cast<double>(done.bytes)) << " in " << format_duration(seconds) << " ("
            << format_bytes(static_cast<double>(done.bytes) / std::max(seconds, 1e-3)) << "/s)";
  if (text.binary + text.empty > 0)
    std::cout << "; left out: " << text.binary << " binary and " << text.empty << " empty files";
  std::cout << "\n";
  return kExitDone;
}

/// Bytes of the printable UTF-8 character at `at`; 0 where there is none.
size_t character_at(const std::string& text, size_t at) {
  const auto byte = [&](size_t k) {
    return at + k < text.size() ? static_cast<unsigned char>(text[at + k]) : 0;
  };
  const int first = byte(0), second = byte(1);
  if (first < 0x80) return first >= 32 && first != 127;
  const size_t bytes = first < 0xc2 ? 0 : first < 0xe0 ? 2 : first < 0xf0 ? 3 : first < 0xf5 ? 4 : 0;
  for (size_t k = 1; k < bytes; ++k)
    if (byte(k) < 0x80 || byte(k) > 0xbf) return 0;
  // C1 controls, overlong forms, surrogates, beyond the last character.
  const bool refused = (first == 0xc2 && second < 0xa0) || (first == 0xe0 && second < 0xa0) ||
                       (first == 0xed && second > 0x9f) || (first == 0xf0 && second < 0x90) ||
                       (first == 0xf4 && second > 0x8f);
  return refused ? 0 : bytes;
}

/// Text on one line, as in C: what a terminal cannot show as it is has a backslash.
std::string escaped(const std::string& text) {
  constexpr char digits[] = "0123456789abcdef";
  std::string out;
  for (size_t at = 0; at < text.size();) {
    const size_t bytes = character_at(text, at);
    const auto c = static_cast<unsigned char>(text[at]);
    if (bytes > 1) {
      out += text.substr(at, bytes);
    } else if (c == '\n') {
      out += "\\n";
    } else if (c == '\t') {
      out += "\\t";
    } else if (bytes == 0) {
      out += cat("\\x", digits[c / 16], digits[c % 16]);
    } else {
      if (c == '\\' || c == '"') out += '\\';
      out += text[at];
    }
    at += std::max<size_t>(bytes, 1);
  }
  return out;
}

/// The first tokens, as text where the tokenizer is known.
void print_beginning(const TokenFile& file) {
  std::vector<int32_t> tokens(static_cast<size_t>(std::min<int64_t>(file.tokens(), 240)));
  file.read(0, tokens);
  std::string text;
  if (file.meaning()) {
    try {
      tokenizer_of(file.prefix(), file.meaning()->tokenizer)->decode(tokens, text);
      std::cout << "begins with      \"" << escaped(text) << "\"\n";
      return;
    } catch (const UserError&) {  // its tokenizer is not here: ids it is
    }
  }
  tokens.resize(std::min<size_t>(tokens.size(), 32));
  std::cout << "begins with      " << join(tokens, " ") << "\n";
}

int inspect(const std::vector<std::string>& arguments) {
  const Given given = parse("inspect", "PREFIX\n\nChecks token files and shows what they hold.",
                            options::options_description("Options"), arguments);
  if (!given) return kExitDone;
  if (given->words.size() != 1)
    throw UserError(
        "inspect takes one path of token files, without .bin and .idx: pscale_data inspect PREFIX");
  const TokenFile file(given->words[0]);
  std::cout << "token files      " << file.prefix() << "\n";
  if (file.meaning()) {
    const TokenMeaning& meaning = *file.meaning();
    std::cout << "tokenizer        " << meaning.tokenizer << "\nvocabulary       " << meaning.vocab_size
              << "\nend of document  " << (meaning.end_of_document ? cat(*meaning.end_of_document) : "none")
              << "\n";
  } else {
    std::cout << "tokenizer        unknown (no " << meta_path(file.prefix()) << ")\nvocabulary       "
              << file.vocabulary() << " (largest token + 1)\n";
  }
  std::cout << "type             " << name_of(file.type()) << "\ndocuments        " << file.documents()
            << "\nsequences        " << file.sequences() << "\ntokens           " << file.tokens() << "\n";
  if (file.documents() == 0) return kExitDone;
  std::vector<int64_t> lengths(static_cast<size_t>(file.documents()));
  for (int64_t d = 0; d < file.documents(); ++d)
    lengths[static_cast<size_t>(d)] = file.document_begin(d + 1) - file.document_begin(d);
  std::sort(lengths.begin(), lengths.end());
  std::cout << "document lengths";
  const std::pair<const char*, double> quantiles[] = {
      {"min", 0}, {"5%", 0.05}, {"25%", 0.25}, {"median", 0.5}, {"75%", 0.75}, {"95%", 0.95}, {"max", 1}};
  for (const auto& [name, part] : quantiles)
    std::cout << "  " << name << " "
              << lengths[static_cast<size_t>(part * static_cast<double>(lengths.size() - 1))];
  std::cout << "  mean " << file.tokens() / file.documents() << "\n";
  print_beginning(file);
  return kExitDone;
}

int run(int argc, char** argv) {
  std::ios::sync_with_stdio(false);
  const std::string command = argc > 1 ? argv[1] : "";
  const std::vector<std::string> arguments(argv + std::min(argc, 2), argv + argc);
  if (command == "prepare") return prepare(arguments);
  if (command == "inspect") return inspect(arguments);
  if (command == "encode") return encode_lines(arguments);
  if (command == "decode") return decode_lines(arguments);
  if (command == "--help" || command == "-h" || command == "help") {
    std::cout << kUsage;
    return kExitDone;
  }
  throw UserError(cat(command.empty() ? "a command is missing" : cat("\"", command, "\" is no command"),
                      ": prepare, inspect, encode or decode; see pscale_data --help"));
}

}  // namespace

int main(int argc, char** argv) {
  return run_program([&] { return run(argc, argv); });
}
