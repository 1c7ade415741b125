#include "launch/data/prepare.h"

#include <algorithm>
#include <charconv>
#include <iostream>
#include <memory>

#include "core/base/errors.h"
#include "data/prepare.h"
#include "launch/command_line.h"
#include "launch/metrics/byte_progress.h"
#include "launch/metrics/format.h"
#include "launch/program.h"

namespace pscale {
namespace {

namespace options = boost::program_options;

constexpr const char* kUsage =
    "--tokenizer FILE|bytes --out PREFIX INPUT...\n\n"
    "An input is a file, a folder, a pattern such as \"data/*.jsonl.zst\", or - for JSONL on standard\n"
    "input. A text file becomes one document, a .jsonl or .ndjson file one document per line; .gz and\n"
    ".zst files are decompressed. The order is that of the inputs and, within folders and patterns, of\n"
    "the paths. From folders hidden, binary and empty files are left out. The tokenizer's files are kept\n"
    "in PREFIX.tokenizer.";

options::options_description visible_options() {
  options::options_description visible("Options");
  visible.add_options()("tokenizer", options::value<std::string>(),
                        "tokenizer.json of a byte-level BPE model, a folder that holds one, a .tiktoken file of Qwen, or "
                        "bytes: every byte is a token, 256 ends a document")(
      "end-of-document", options::value<std::string>()->default_value("", "as the tokenizer's files say"),
      "the token that ends a document, or none")(
      "out", options::value<std::string>(), "path of the token files without .bin and .idx")(
      "suffix", options::value<std::vector<std::string>>()->composing()->default_value({}, ""),
      "take only files with this ending from folders, such as .py; may be repeated")(
      "format", options::value<std::string>()->default_value("auto"),
      "text: a file is a document; jsonl: a line is; auto: .jsonl, .ndjson, .json.gz and .json.zst are JSONL")(
      "field", options::value<std::string>()->default_value("text"),
      "the field of a line of JSONL that holds the text; content.body for one within another")(
      "skip-bad", options::bool_switch(),
      "leave out documents that are not UTF-8, not JSON or lack the field, and count them, instead of ending with an error")(
      "append-eod", options::value<bool>()->default_value(true, "on"),
      "on or off: whether each document ends with the end-of-document token")(
      "part", options::value<std::string>()->default_value("", "1/1"),
      "I/N: prepare only the I-th of N parts of the inputs; pscale_data merge joins the parts");
  return visible;
}

TextSelection::Format read_format(const std::string& name) {
  if (name == "auto") return TextSelection::Format::by_name;
  if (name == "text") return TextSelection::Format::text;
  if (name == "jsonl") return TextSelection::Format::lines;
  throw UserError(cat("--format ", name, ": must be auto, text or jsonl"));
}

struct Part {
  int64_t number = 1, of = 1;
};

Part read_part(const std::string& text) {
  Part part;
  if (text.empty()) return part;
  const char* const end = text.data() + text.size();
  const auto [slash, wrong] = std::from_chars(text.data(), end, part.number);
  if (wrong == std::errc() && slash < end && *slash == '/') {
    const auto [rest, also_wrong] = std::from_chars(slash + 1, end, part.of);
    constexpr int64_t most = 1'000'000;
    if (also_wrong == std::errc() && rest == end && part.number >= 1 && part.number <= part.of && part.of <= most)
      return part;
  }
  throw UserError(cat("--part ", text, ": must be I/N, such as 1/4 for the first of 4 parts; the last is 4/4"));
}

void print_summary(const std::string& prefix, const TextFiles& text, const PrepareProgress& done, double seconds) {
  std::cout << prefix << ": " << done.documents << " documents, " << done.tokens << " tokens from "
            << format_bytes(static_cast<double>(done.bytes)) << " in " << format_duration(seconds) << " ("
            << format_bytes(static_cast<double>(done.bytes) / std::max(seconds, 1e-3)) << "/s)";
  std::vector<std::string> left_out;
  if (text.binary + text.empty > 0)
    left_out.push_back(cat(text.binary, " binary and ", text.empty, " empty files"));
  if (text.links > 0) left_out.push_back(cat(text.links, " links to folders"));
  if (text.again > 0) left_out.push_back(cat(text.again, " files that were taken before"));
  if (done.empty > 0) left_out.push_back(cat(done.empty, " empty documents"));
  if (done.bad > 0) left_out.push_back(cat(done.bad, " bad documents"));
  if (!left_out.empty()) std::cout << "; left out: " << join(left_out, ", ");
  std::cout << "\n";
  for (const std::string& problem : done.problems) std::cout << "bad: " << problem << "\n";
  if (done.bad > static_cast<int64_t>(done.problems.size()))
    std::cout << "bad: " << done.bad - static_cast<int64_t>(done.problems.size()) << " more\n";
}

}  // namespace

int prepare_files(const std::vector<std::string>& arguments) {
  const auto given = parse_command_line("pscale_data prepare", kUsage, visible_options(), arguments);
  if (!given) return kExitDone;
  std::vector<std::string> problems;
  if (!given->has("tokenizer")) problems.push_back("--tokenizer is missing: prepare --tokenizer FILE, or --tokenizer bytes");
  if (!given->has("out"))
    problems.push_back("--out is missing: the path of the token files without .bin and .idx");
  if (given->words.empty()) problems.push_back("inputs are missing: name files, folders or -");
  if (!problems.empty()) throw UserError(std::move(problems));

  PrepareOptions wanted;
  wanted.prefix = given->get<std::string>("out");
  if (wanted.prefix.empty() || wanted.prefix.ends_with('/'))
    throw UserError(cat("--out ", wanted.prefix, ": name a file, not a folder"));
  wanted.field = given->get<std::string>("field");
  wanted.skip_bad = given->get<bool>("skip-bad");
  const auto& end = given->get<std::string>("end-of-document");
  wanted.append_eod = given->get<bool>("append-eod") && end != "none";
  const Part part = read_part(given->get<std::string>("part"));
  const TextSelection selection = {given->get<std::vector<std::string>>("suffix"),
                                   read_format(given->get<std::string>("format")), wanted.prefix};
  const auto tokenizer = make_tokenizer(given->get<std::string>("tokenizer"), end);
  TextFiles text = find_text_files(given->words, selection);
  if (part.of > 1) {
    text = part_of(text, part.number, part.of);
    wanted.part = cat(part.number, "/", part.of);
  }

  ByteProgress display(text.bytes);
  const PrepareProgress done = prepare_tokens(text, *tokenizer, wanted, [&](const PrepareProgress& progress) {
    display.show(progress.bytes, cat(format_count(static_cast<double>(progress.tokens)), " tokens"));
  });
  display.clear();
  print_summary(wanted.prefix, text, done, display.seconds());
  return kExitDone;
}

}  // namespace pscale
