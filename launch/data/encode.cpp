#include "launch/data/encode.h"

#include <algorithm>
#include <charconv>
#include <iostream>
#include <memory>
#include <nlohmann/json.hpp>

#include "core/base/errors.h"
#include "data/tokenizer/tokenizer.h"
#include "launch/command_line.h"
#include "launch/program.h"

namespace pscale {
namespace {

namespace options = boost::program_options;

constexpr size_t kBatchLines = 1 << 14, kBatchBytes = size_t{16} << 20;  // encoded together

struct Request {
  std::unique_ptr<Tokenizer> tokenizer;  // null where --help was answered
  bool json = false, add_special_tokens = false;
};

Request read_request(const std::string& command, const std::string& what, const std::vector<std::string>& arguments) {
  options::options_description visible("Options");
  visible.add_options()("tokenizer", options::value<std::string>(),
                        "tokenizer.json, a folder that holds one, a .tiktoken file of Qwen, or bytes")(
      "json", options::bool_switch(), "a text is a JSON string, so that it may hold line breaks");
  if (command == "encode")
    visible.add_options()("add-special-tokens", options::bool_switch(),
                          "with the tokens that the tokenizer's post-processor puts before and behind a text");
  const auto given = parse_command_line("pscale_data " + command, "--tokenizer FILE|bytes\n\n" + what, visible, arguments);
  if (!given) return {};
  std::vector<std::string> problems;
  if (!given->has("tokenizer"))
    problems.push_back(cat("--tokenizer is missing: ", command, " --tokenizer FILE, or --tokenizer bytes"));
  if (!given->words.empty())
    problems.push_back(cat(command, " reads standard input; it takes no ", given->words[0]));
  if (!problems.empty()) throw UserError(std::move(problems));
  return {make_tokenizer(given->get<std::string>("tokenizer")), given->get<bool>("json"),
          command == "encode" && given->get<bool>("add-special-tokens")};
}

UserError at_line(int64_t number, const std::string& what) {
  return UserError(cat("standard input, line ", number, ": ", what));
}

std::string from_json(const std::string& line, int64_t number) {
  try {
    return nlohmann::json::parse(line).get<std::string>();
  } catch (const nlohmann::json::exception& wrong) {
    throw at_line(number, cat("not a JSON string: ", wrong.what()));
  }
}

void write_ids(std::span<const int32_t> before, std::span<const int32_t> tokens, std::span<const int32_t> after) {
  std::string out;
  for (const auto& part : {before, tokens, after})
    for (const int32_t token : part) {
      if (!out.empty()) out += ' ';
      out += std::to_string(token);
    }
  std::cout << out << '\n';
}

std::vector<int32_t> read_ids(const std::string& line) {
  constexpr const char* blanks = " \t\r";
  std::vector<int32_t> tokens;
  for (size_t at = line.find_first_not_of(blanks); at != std::string::npos; at = line.find_first_not_of(blanks, at)) {
    const size_t end = std::min(line.find_first_of(blanks, at), line.size());
    int32_t token = 0;
    const auto [rest, error] = std::from_chars(line.data() + at, line.data() + end, token);
    if (error != std::errc() || rest != line.data() + end)
      throw UserError(cat("\"", line.substr(at, end - at), "\" is not a token id"));
    tokens.push_back(token);
    at = end;
  }
  return tokens;
}

}  // namespace

int encode_lines(const std::vector<std::string>& arguments) {
  const Request request = read_request("encode",
                                       "Standard input: a text per line. Standard output: its ids, a line each. The end\n"
                                       "of a line is no part of its text.",
                                       arguments);
  if (!request.tokenizer) return kExitDone;
  const Tokenizer& tokenizer = *request.tokenizer;
  const SurroundingTokens around = request.add_special_tokens ? tokenizer.surrounding_tokens() : SurroundingTokens{};
  int64_t number = 0;
  std::vector<std::string> lines;
  for (bool more = true; more;) {
    lines.clear();
    size_t bytes = 0;
    // What a person or a pipe sent so far is answered at once.
    for (std::string line; lines.size() < kBatchLines && bytes < kBatchBytes;) {
      if (!lines.empty() && std::cin.rdbuf()->in_avail() <= 0) break;
      more = static_cast<bool>(std::getline(std::cin, line));
      if (!more) break;
      bytes += line.size();
      lines.push_back(request.json ? from_json(line, number + static_cast<int64_t>(lines.size()) + 1) : line);
    }
    const std::vector<std::string_view> texts(lines.begin(), lines.end());
    std::vector<std::vector<int32_t>> tokens;
    try {
      tokens = encode_batch(tokenizer, texts);
    } catch (const UserError&) {
      for (size_t k = 0; k < texts.size(); ++k) try {
          std::vector<int32_t> ids;
          tokenizer.encode(texts[k], ids);
          write_ids(around.before, ids, around.after);
        } catch (const UserError& wrong) {
          throw at_line(number + static_cast<int64_t>(k) + 1, wrong.what());
        }
      throw;
    }
    for (const auto& ids : tokens) write_ids(around.before, ids, around.after);
    std::cout.flush();
    number += static_cast<int64_t>(lines.size());
  }
  return kExitDone;
}

int decode_lines(const std::vector<std::string>& arguments) {
  const Request request = read_request(
      "decode", "Standard input: ids between blanks, a text per line. Standard output: the texts.", arguments);
  if (!request.tokenizer) return kExitDone;
  int64_t number = 0;
  std::string text;
  for (std::string line; std::getline(std::cin, line);) {
    ++number;
    text.clear();
    try {
      request.tokenizer->decode(read_ids(line), text);
    } catch (const UserError& wrong) {
      throw at_line(number, wrong.what());
    }
    if (request.json)
      text = nlohmann::json(text).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
    std::cout << text << '\n';
  }
  return kExitDone;
}

}  // namespace pscale
