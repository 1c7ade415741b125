#include "launch/train/run_data.h"

#include <cstdio>

#include "core/base/errors.h"
#include "core/base/hash.h"
#include "models/hf/export_tokenizer.h"

namespace pscale {

namespace {

BlendedDataset open(const Config& config, DataSplit::Part part) {
  const bool own = part == DataSplit::Part::validation && config.data.validation;
  const WeightedPaths& sources = own ? *config.data.validation : config.data.train;
  return BlendedDataset(sources, config.train.sequence_length, static_cast<uint64_t>(config.run.seed),
                        {part, own ? 1 : config.data.held_out()});
}

void check_vocabulary(const BlendedDataset& data, const ModelConfig& model, std::vector<std::string>& problems) {
  for (size_t s = 0; s < data.sources(); ++s)
    if (data.source(s).vocabulary() > model.vocab_size)
      problems.push_back(cat(data.source(s).file().prefix(), ": its tokens need a vocabulary of ", data.source(s).vocabulary(),
                             ", but model.vocab_size = ", model.vocab_size));
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

RunData::RunData(const Config& config) : train_(open(config, DataSplit::Part::train)) {
  if (config.data.validation_interval > 0) validation_.emplace(open(config, DataSplit::Part::validation));
  std::vector<std::string> problems;
  check_vocabulary(train_, config.model, problems);
  if (config.data.validation && validation_) check_vocabulary(*validation_, config.model, problems);
  if (!problems.empty()) throw UserError(std::move(problems));
}

std::map<std::string, std::string> RunData::fingerprints() const {
  std::map<std::string, std::string> data;
  add_fingerprints("data.train", train_, data);
  if (validation_) add_fingerprints("data.validation", *validation_, data);
  return data;
}

std::string RunData::tokenizer() const {
  for (size_t s = 0; s < train_.sources(); ++s)
    if (const auto& meaning = train_.source(s).file().meaning()) return meaning->tokenizer;
  return "";
}

void RunData::check_tokenizer(const std::string& tokenizer) const {
  if (tokenizer.empty()) return;
  std::vector<std::string> problems;
  for (size_t s = 0; s < train_.sources(); ++s) {
    const TokenFile& file = train_.source(s).file();
    const auto& meaning = file.meaning();
    if (!meaning || tokenizer == meaning->tokenizer || (meaning->tokenizer == "bytes" && is_byte_tokenizer(tokenizer)))
      continue;
    problems.push_back(cat(file.prefix(), ": its tokens were made with the tokenizer ", meaning->tokenizer,
                           ", the model's is ", tokenizer, "; prepare the text with the model's"));
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
