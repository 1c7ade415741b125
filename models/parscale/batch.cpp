#include "models/parscale/batch.h"

namespace pscale {

Batch make_batch(const Device& device, std::span<const int32_t> tokens, std::span<const int32_t> documents,
                 int64_t sequences, int64_t length, int64_t multiple) {
  PSCALE_CHECK(static_cast<int64_t>(tokens.size()) == sequences * (length + 1) &&
                   (documents.empty() || documents.size() == tokens.size()),
               tokens.size(), " tokens for ", sequences, " x ", length, " + 1");
  Batch batch;
  batch.sequences = sequences;
  batch.length = length;
  batch.tokens = (sequences * length + multiple - 1) / multiple * multiple;
  const auto ints = [&](double fill) {
    return Tensor::of(device, {batch.tokens}, DType::int32,
                      std::vector<double>(static_cast<size_t>(batch.tokens), fill));
  };
  batch.inputs = ints(-1);
  batch.targets = ints(-1);
  batch.positions = ints(0);
  if (!documents.empty()) batch.starts = ints(0);
  for (int64_t b = 0; b < sequences; ++b) {
    int64_t start = 0;
    for (int64_t s = 0; s < length; ++s) {
      const size_t from = static_cast<size_t>(b * (length + 1) + s);
      const int64_t to = b * length + s;
      if (!documents.empty() && s > 0 && documents[from] != documents[from - 1]) start = s;
      const bool counts = documents.empty() || documents[from + 1] == documents[from];
      batch.inputs.data<int32_t>()[to] = tokens[from];
      batch.positions.data<int32_t>()[to] = static_cast<int32_t>(s - start);
      if (batch.starts.defined()) batch.starts.data<int32_t>()[to] = static_cast<int32_t>(start);
      if (counts) {
        batch.targets.data<int32_t>()[to] = tokens[from + 1];
        ++batch.counted;
      }
    }
  }
  return batch;
}

int64_t count_targets(std::span<const int32_t> documents, int64_t sequences, int64_t length) {
  if (documents.empty()) return sequences * length;
  int64_t counted = 0;
  for (int64_t b = 0; b < sequences; ++b)
    for (int64_t s = 0; s < length; ++s) {
      const size_t at = static_cast<size_t>(b * (length + 1) + s);
      counted += documents[at + 1] == documents[at];
    }
  return counted;
}

}  // namespace pscale
