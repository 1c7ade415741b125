#include "launch/eval/evaluate.h"

#include <algorithm>

#include "core/base/errors.h"

namespace pscale {

namespace {

constexpr Purpose kEvaluation{"evaluation"};

/// Windows side by side, the shorter ones filled up with tokens that count for nothing.
Batch batch_of(const TokenFile& file, std::span<const Window> windows, const Device& device, int64_t multiple) {
  int64_t length = 0;
  for (const Window& w : windows) length = std::max(length, w.length);
  const auto width = static_cast<size_t>(length + 1);
  std::vector<int32_t> tokens(windows.size() * width, 0);
  for (size_t i = 0; i < windows.size(); ++i) {
    const Window& w = windows[i];
    const int64_t before = w.first < 0 ? 1 : 0;
    const auto row = std::span(tokens).subspan(i * width, static_cast<size_t>(w.length + 1));
    if (before) row[0] = *file.meaning()->end_of_document;
    file.read(w.first + before, row.subspan(static_cast<size_t>(before)));
  }
  Batch batch = make_batch(device, tokens, {}, static_cast<int64_t>(windows.size()), length, multiple);
  batch.counted = 0;
  auto* targets = batch.targets.data<int32_t>();
  for (size_t i = 0; i < windows.size(); ++i) {
    int32_t* row = targets + static_cast<int64_t>(i) * length;
    std::fill(row, row + windows[i].length - windows[i].counted, -1);
    std::fill(row + windows[i].length, row + length, -1);
    batch.counted += windows[i].counted;
  }
  return batch;
}

}  // namespace

Evaluation evaluate(const ParScaleModel& model, const Mesh& mesh, const Device& device, const TokenFile& file,
                    const std::vector<Window>& windows, int64_t micro_batch,
                    const std::function<void(int64_t, int64_t)>& progress) {
  const Coordinates& at = mesh.coordinates();
  double sums[2] = {0, 0};  // loss, tokens
  const auto count = static_cast<int64_t>(windows.size());
  int64_t all = 0, done = 0;
  for (const Window& w : windows) all += w.counted;
  for (int64_t first = at.data * micro_batch; first < count; first += mesh.layout().data * micro_batch) {
    const auto part = std::span(windows).subspan(static_cast<size_t>(first),
                                                 static_cast<size_t>(std::min(micro_batch, count - first)));
    const Batch batch = batch_of(file, part, device, model.token_multiple());
    Tape off(Tape::Mode::off);
    sums[0] += model.loss(off, batch, 1.0).sum;  // this rank's part of it
    if (at.replica == 0 && at.tensor == 0) sums[1] += static_cast<double>(batch.counted);
    done += batch.counted;
    progress(done * mesh.layout().data, all);
  }
  mesh.group(AxisSet::all()).all_reduce(sums, 2, DType::float64, Reduction::sum, kEvaluation).wait();
  return {sums[0] / sums[1], static_cast<int64_t>(sums[1]), file.documents()};
}

}  // namespace pscale
