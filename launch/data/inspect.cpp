#include "launch/data/inspect.h"

#include <algorithm>
#include <iostream>
#include <memory>
#include <nlohmann/json.hpp>
#include <utility>

#include "core/base/errors.h"
#include "data/token_file/token_file.h"
#include "data/tokenizer/tokenizer_folder.h"
#include "launch/command_line.h"
#include "launch/data/escaped.h"
#include "launch/program.h"

namespace pscale {
namespace {

namespace options = boost::program_options;
using Json = nlohmann::ordered_json;

constexpr int64_t kSampleTokens = 80, kSampleIds = 32;  // of a document that are shown, as text and as numbers

constexpr std::pair<const char*, double> kQuantiles[] = {{"min", 0},     {"5%", 0.05},  {"25%", 0.25}, {"median", 0.5},
                                                         {"75%", 0.75}, {"95%", 0.95}, {"max", 1}};

/// The lengths of documents in tokens, of which the given parts are shorter.
std::vector<int64_t> length_quantiles(const TokenFile& file) {
  std::vector<int64_t> lengths(static_cast<size_t>(file.documents()));
  for (int64_t d = 0; d < file.documents(); ++d)
    lengths[static_cast<size_t>(d)] = file.document_begin(d + 1) - file.document_begin(d);
  std::vector<int64_t> found;
  auto sorted = lengths.begin();  // all before it are in their places
  for (const auto& [name, part] : kQuantiles) {
    const auto place = static_cast<std::ptrdiff_t>(part * static_cast<double>(lengths.size() - 1));
    const auto at = lengths.begin() + place;
    if (at >= sorted) std::nth_element(sorted, at, lengths.end());
    sorted = at;
    found.push_back(*at);
  }
  return found;
}

struct Sample {
  int64_t document = 0, length = 0;
  std::vector<int32_t> tokens;  // the first ones
};

std::vector<Sample> take_samples(const TokenFile& file, int64_t count) {
  std::vector<Sample> samples;
  count = std::min(count, file.documents());
  for (int64_t k = 0; k < count; ++k) {
    Sample sample;
    // The first, the last and those evenly between; k · last / steps, where the product may not fit.
    const int64_t last = file.documents() - 1, steps = std::max<int64_t>(count - 1, 1);
    sample.document = last / steps * k + last % steps * k / steps;
    const int64_t begin = file.document_begin(sample.document);
    sample.length = file.document_begin(sample.document + 1) - begin;
    sample.tokens.resize(static_cast<size_t>(std::min(sample.length, kSampleTokens)));
    file.read(begin, sample.tokens);
    samples.push_back(std::move(sample));
  }
  return samples;
}

/// Null where the tokenizer is not known or not here; then `why` says so.
std::unique_ptr<Tokenizer> find_tokenizer(const TokenFile& file, std::string& why) {
  if (!file.meaning()) {
    why = "unknown tokenizer";
    return nullptr;
  }
  try {
    return tokenizer_of(file.prefix(), file.meaning()->tokenizer);
  } catch (const UserError& missing) {
    why = missing.problems()[0];
    return nullptr;
  }
}

/// The text of a sample. Throws UserError for a token outside the vocabulary.
std::string text_of(const TokenFile& file, const Tokenizer& tokenizer, const Sample& sample) {
  std::string text;
  try {
    tokenizer.decode(sample.tokens, text);
  } catch (const UserError& wrong) {
    throw UserError(cat(bin_path(file.prefix()), ": document ", sample.document, ": ", wrong.what(),
                        "; damaged, or not of the same preparation as ", meta_path(file.prefix())));
  }
  return text;
}

void print(const TokenFile& file, int64_t samples, std::ostream& out) {
  out << "token files      " << file.prefix() << "\n";
  if (file.meaning()) {
    const TokenMeaning& meaning = *file.meaning();
    out << "tokenizer        " << meaning.tokenizer << "\nvocabulary       " << meaning.vocab_size
        << "\nend of document  " << (meaning.end_of_document ? cat(*meaning.end_of_document) : "none") << "\n";
  } else {
    out << "tokenizer        unknown (no " << meta_path(file.prefix()) << ")\nvocabulary       " << file.vocabulary()
        << " (largest token + 1)\n";
  }
  out << "type             " << name_of(file.type()) << "\ndocuments        " << file.documents()
      << "\nsequences        " << file.sequences() << "\ntokens           " << file.tokens() << "\n";
  if (file.documents() == 0) return;
  out << "document lengths";
  const std::vector<int64_t> quantiles = length_quantiles(file);
  for (size_t k = 0; k < quantiles.size(); ++k) out << "  " << kQuantiles[k].first << " " << quantiles[k];
  out << "  mean " << file.tokens() / file.documents() << "\n";
  std::string why;
  const auto tokenizer = find_tokenizer(file, why);
  if (!tokenizer && samples > 0) out << "shown as ids     " << why << "\n";
  for (Sample& sample : take_samples(file, samples)) {
    const std::string name = cat("document ", sample.document);
    out << name << std::string(name.size() < 16 ? 17 - name.size() : 1, ' ') << sample.length << " tokens: ";
    if (tokenizer) {
      out << "\"" << escaped(text_of(file, *tokenizer, sample)) << "\"";
    } else {
      sample.tokens.resize(std::min(sample.tokens.size(), static_cast<size_t>(kSampleIds)));
      out << join(sample.tokens, " ");
    }
    out << (static_cast<int64_t>(sample.tokens.size()) < sample.length ? "...\n" : "\n");
  }
}

void print_json(const TokenFile& file, int64_t samples, std::ostream& out) {
  Json json = {{"prefix", file.prefix()}, {"tokenizer", nullptr}, {"vocab_size", file.vocabulary()},
               {"end_of_document", nullptr}, {"type", name_of(file.type())}, {"documents", file.documents()},
               {"sequences", file.sequences()}, {"tokens", file.tokens()}, {"document_lengths", Json::object()},
               {"samples", Json::array()}};
  if (file.meaning()) {
    json["tokenizer"] = file.meaning()->tokenizer;
    if (file.meaning()->end_of_document) json["end_of_document"] = *file.meaning()->end_of_document;
  }
  if (file.documents() > 0) {
    const std::vector<int64_t> quantiles = length_quantiles(file);
    for (size_t k = 0; k < quantiles.size(); ++k) json["document_lengths"][kQuantiles[k].first] = quantiles[k];
    json["document_lengths"]["mean"] = static_cast<double>(file.tokens()) / static_cast<double>(file.documents());
  }
  std::string why;
  const auto tokenizer = find_tokenizer(file, why);
  for (const Sample& sample : take_samples(file, samples)) {
    Json one = {{"document", sample.document}, {"length", sample.length}, {"ids", sample.tokens}, {"text", nullptr}};
    if (tokenizer) one["text"] = text_of(file, *tokenizer, sample);
    json["samples"].push_back(std::move(one));
  }
  // A sample may end within a character.
  out << json.dump(-1, ' ', false, Json::error_handler_t::replace) << "\n";
}

}  // namespace

void inspect_token_files(const std::string& prefix, int64_t samples, bool json, std::ostream& out) {
  const TokenFile file(prefix);
  json ? print_json(file, samples, out) : print(file, samples, out);
}

int inspect_files(const std::vector<std::string>& arguments) {
  options::options_description visible("Options");
  visible.add_options()("samples", options::value<int64_t>()->default_value(3),
                        "documents to show the beginning of: the first, the last and those evenly between")(
      "json", options::bool_switch(), "print one JSON object");
  const auto given = parse_command_line("pscale_data inspect", "PREFIX\n\nChecks token files and shows what they hold.",
                                        visible, arguments);
  if (!given) return kExitDone;
  if (given->words.size() != 1)
    throw UserError(
        "inspect takes one path of token files, without .bin and .idx: pscale_data inspect PREFIX");
  const auto samples = given->get<int64_t>("samples");
  if (samples < 0) throw UserError(cat("--samples ", samples, ": must be 0 or more"));
  inspect_token_files(given->words[0], samples, given->get<bool>("json"), std::cout);
  return kExitDone;
}

}  // namespace pscale
