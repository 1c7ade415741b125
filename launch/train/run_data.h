// The token files of a run: what it trains on and what it is validated on.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "data/sampler/blended_dataset.h"
#include "launch/run_config.h"
#include "parallel/checkpoint/checkpoint.h"
#include "parallel/comm/communicator.h"

namespace pscale {

class RunData {
 public:
  /// Opens and checks all of them. Throws UserError with all problems: missing or damaged files, too few tokens for a
  /// sample, tokens that the model's vocabulary has no room for, sources made with several tokenizers.
  explicit RunData(const Config& config);

  /// Throws UserError where ranks have opened different files, as copies on several machines can be. Collective.
  void check_same_on(Communicator& world) const;

  const BlendedDataset& train() const { return train_; }
  const std::optional<BlendedDataset>& validation() const { return validation_; }

  /// Fingerprints of the token files, by the key that names them: data.train, or data.train[0], data.train[1], ...
  std::map<std::string, std::string> fingerprints() const;
  /// The tokenizer of the first training files that say theirs; empty where none does.
  std::string tokenizer() const;
  /// The files of that tokenizer, for checkpoints to carry; empty where it has none or they are gone.
  CarriedFiles tokenizer_files() const;
  /// Throws UserError for training files whose ids mean other words than those of a model made with `tokenizer`: "bytes",
  /// the folder of its files, or empty where it is not known.
  void check_tokenizer(const std::string& tokenizer) const;
  /// A line for the log about each source, for a run of so many samples.
  std::vector<std::string> summary(uint64_t samples) const;

 private:
  BlendedDataset train_;
  std::optional<BlendedDataset> validation_;
};

}  // namespace pscale
