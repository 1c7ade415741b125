#include "launch/train/run_data.h"

#include <algorithm>
#include <cstdio>
#include <filesystem>

#include "core/base/durable_file.h"
#include "core/base/errors.h"
#include "core/base/hash.h"
#include "data/tokenizer/tokenizer_folder.h"
#include "models/hf/export_tokenizer.h"
#include "parallel/comm/texts.h"

namespace pscale {

namespace {

constexpr Purpose kData{"data"};

/// Problems of the files a key names, each with the key and its place.
std::vector<std::string> named(const Config& config, const char* key, std::vector<std::string> problems) {
  for (std::string& problem : problems) problem = cat(config.origins.name(key), ": ", problem);
  return problems;
}

BlendedDataset open(const Config& config, const char* key, const WeightedPaths& sources, DataSplit split,
                    const BlendedDataset* opened) {
  if (sources.empty()) throw UserError(cat(config.origins.name(key), " names no token files; give their prefix, or leave the key out"));
  try {
    return BlendedDataset(sources, config.train.sequence_length, static_cast<uint64_t>(config.run.seed), split, opened);
  } catch (const UserError& e) {
    throw UserError(named(config, key, e.problems()));
  }
}

BlendedDataset open_train(const Config& config) {
  return open(config, "data.train", config.data.train, {DataSplit::Part::train, config.data.held_out()}, nullptr);
}

BlendedDataset open_validation(const Config& config, const BlendedDataset& train) {
  if (const auto& own = config.data.validation)
    return open(config, "data.validation", *own, {DataSplit::Part::validation, 1}, nullptr);
  return open(config, "data.train", config.data.train, {DataSplit::Part::validation, config.data.held_out()}, &train);
}

void check_vocabulary(const BlendedDataset& data, const ModelConfig& model, std::vector<std::string>& problems) {
  for (size_t s = 0; s < data.sources(); ++s)
    if (data.source(s).vocabulary() > model.vocab_size)
      problems.push_back(cat(data.source(s).file().prefix(), ": its tokens need a vocabulary of ", data.source(s).vocabulary(),
                             ", but model.vocab_size = ", model.vocab_size));
}

/// Where ids of one source mean other words than those of another, a model learns nonsense. `first`: a source that says its
/// tokenizer, once one was seen.
void check_one_tokenizer(const BlendedDataset& data, const TokenFile*& first, std::vector<std::string>& problems) {
  for (size_t s = 0; s < data.sources(); ++s) {
    const TokenFile& file = data.source(s).file();
    if (!file.meaning()) continue;
    if (!first) first = &file;
    if (file.meaning()->tokenizer != first->meaning()->tokenizer)
      problems.push_back(cat(file.prefix(), ": its tokens were made with the tokenizer ", file.meaning()->tokenizer, ", those of ",
                             first->prefix(), " with ", first->meaning()->tokenizer, "; prepare both with the same one"));
  }
}

void add_fingerprints(const std::string& key, const BlendedDataset& data, std::map<std::string, std::string>& into) {
  for (size_t s = 0; s < data.sources(); ++s)
    into[data.sources() == 1 ? key : cat(key, "[", s, "]")] = to_hex(data.source(s).file().fingerprint());
}

std::string with_digits(double value, const char* format) {
  char text[40];
  std::snprintf(text, sizeof text, format, value);
  return text;
}

}  // namespace

RunData::RunData(const Config& config) : train_(open_train(config)) {
  if (config.data.validation_interval > 0) validation_.emplace(open_validation(config, train_));
  std::vector<std::string> problems;
  const TokenFile* first = nullptr;
  const auto check = [&](const char* key, const BlendedDataset& data) {
    std::vector<std::string> found;
    check_vocabulary(data, config.model, found);
    check_one_tokenizer(data, first, found);
    found = named(config, key, std::move(found));
    problems.insert(problems.end(), found.begin(), found.end());
  };
  check("data.train", train_);
  if (config.data.validation && validation_) check("data.validation", *validation_);
  if (!problems.empty()) throw UserError(std::move(problems));
}

std::map<std::string, std::string> RunData::fingerprints() const {
  std::map<std::string, std::string> data;
  add_fingerprints("data.train", train_, data);
  if (validation_) add_fingerprints("data.validation", *validation_, data);
  return data;
}

void RunData::check_same_on(Communicator& world) const {
  std::string own;
  for (const auto& [key, fingerprint] : fingerprints()) own += cat(key, " ", fingerprint, "\n");
  const std::vector<std::string> all = gather_texts(world, own, kData);
  std::vector<std::string> problems;
  for (size_t rank = 1; rank < all.size(); ++rank) {
    if (all[rank] == all[0]) continue;
    const auto at = std::mismatch(all[0].begin(), all[0].end(), all[rank].begin(), all[rank].end()).first;
    const size_t line = all[0].rfind('\n', static_cast<size_t>(at - all[0].begin())) + 1;
    problems.push_back(cat(all[0].substr(line, all[0].find(' ', line) - line), ": rank ", rank,
                           " has opened other token files than rank 0; copy the same ones to every machine"));
  }
  if (!problems.empty()) throw UserError(std::move(problems));
}

std::string RunData::tokenizer() const {
  for (size_t s = 0; s < train_.sources(); ++s)
    if (const auto& meaning = train_.source(s).file().meaning()) return meaning->tokenizer;
  return "";
}

CarriedFiles RunData::tokenizer_files() const {
  CarriedFiles files;
  for (size_t s = 0; s < train_.sources() && files.empty(); ++s) {
    if (!train_.source(s).file().meaning()) continue;
    std::error_code ignored;
    for (const auto& entry :
         std::filesystem::directory_iterator(tokenizer_folder(train_.source(s).file().prefix()), ignored))
      if (entry.is_regular_file(ignored))
        files[cat(kTokenizerFolder, "/", entry.path().filename().string())] = read_file(entry.path());
  }
  return files;
}

void RunData::check_tokenizer(const std::string& tokenizer) const {
  if (tokenizer.empty()) return;
  const bool bytes = tokenizer == "bytes" || is_byte_tokenizer(tokenizer);
  std::unique_ptr<Tokenizer> of_model;
  std::vector<std::string> problems;
  for (size_t s = 0; s < train_.sources(); ++s) {
    const TokenFile& file = train_.source(s).file();
    const auto& meaning = file.meaning();
    if (!meaning || (bytes && meaning->tokenizer == "bytes")) continue;
    std::string why = cat("the model's is ", tokenizer);
    if (!bytes && meaning->tokenizer != "bytes") try {
        if (!of_model) of_model = make_tokenizer(tokenizer, "none");
        if (of_model->name() == meaning->tokenizer || same_texts(*of_model, *tokenizer_of(file.prefix(), meaning->tokenizer)))
          continue;
      } catch (const UserError& unreadable) {
        why = cat("which cannot be compared with the model's: ", unreadable.what());
      }
    problems.push_back(cat(file.prefix(), ": its tokens were made with the tokenizer ", meaning->tokenizer, ", ", why,
                           "; prepare the text with the model's"));
  }
  if (!problems.empty()) throw UserError(std::move(problems));
}

std::vector<std::string> RunData::summary(uint64_t samples) const {
  std::vector<std::string> lines;
  for (size_t s = 0; s < train_.sources(); ++s) {
    const TokenDataset& data = train_.source(s);
    const auto used = static_cast<double>(train_.blend().count(s, samples)) * static_cast<double>(data.length());
    lines.push_back(cat("data: ", data.file().prefix(), ": ", data.documents(), " documents, ", data.tokens(), " tokens",
                        train_.sources() > 1 ? cat(", ", with_digits(100 * train_.blend().weight(s), "%.4g"), " % of samples") : "",
                        ", ", with_digits(used / static_cast<double>(data.tokens()), "%.3g"), " epochs in this run"));
  }
  return lines;
}

}  // namespace pscale
