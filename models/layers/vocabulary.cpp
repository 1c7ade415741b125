#include "models/layers/vocabulary.h"

#include <algorithm>

#include "core/ops/cross_entropy.h"
#include "core/ops/embedding.h"
#include "core/ops/matmul.h"
#include "core/tensor/accumulate.h"
#include "parallel/ops/collectives.h"

namespace pscale {

namespace {

constexpr Purpose kEmbedding{"embedding"};
constexpr Purpose kHead{"head"};
constexpr Purpose kStatistics{"loss_statistics"};
constexpr int64_t kChunkBytes = int64_t{16} << 20;  // of logits held at a time

int64_t chunk_rows(int64_t vocabulary_rows) {
  return std::clamp<int64_t>(kChunkBytes / (4 * vocabulary_rows), 16, 1024);
}

Tensor gather_hidden(const Tensor& hidden, Communicator& tensor) {
  if (tensor.size() == 1) return hidden;
  const Tensor all = Tensor::empty(hidden.device(), gathered_shape(hidden, tensor), hidden.dtype());
  all_gather_into(hidden, all, tensor, kHead).wait();
  return all;
}

}  // namespace

Var vocabulary_embedding(Tape& tape, const Var& table, const Tensor& tokens, Communicator& tensor) {
  const Var partial = embedding(tape, table, tokens, tensor.rank() * table.size(0));
  return reduce_scatter(tape, partial, tensor, kEmbedding);
}

VocabularyLoss vocabulary_loss(Tape& tape, const Var& hidden, const Var& head, const Tensor& targets,
                               Communicator& tensor, int64_t vocabulary, double scale) {
  const Device& device = hidden.device();
  const Tensor all = gather_hidden(hidden.value(), tensor), weight = head.value();
  const int64_t rows = all.size(0), local = weight.size(0), first = tensor.rank() * local;
  const int64_t valid = std::clamp<int64_t>(vocabulary - first, 0, local);
  const int64_t own_begin = tensor.rank() * hidden.size(0), own_end = own_begin + hidden.size(0);
  PSCALE_CHECK(targets.shape() == Shape{rows}, to_string(targets.shape()), " targets of ", rows, " tokens");
  const DType dtype = all.dtype();
  const DType sums = dtype == DType::float64 ? DType::float64 : DType::float32;
  const bool wants_hidden = tape.recording() && hidden.gradient(), wants_head = tape.recording() && head.gradient();
  const Tensor dall = wants_hidden ? Tensor::empty_like(all) : Tensor();

  double total = 0;
  const int64_t step = chunk_rows(local);
  for (int64_t begin = 0; begin < rows; begin += step) {
    const int64_t count = std::min(step, rows - begin);
    const Tensor x = all.narrow(begin, count), target = targets.narrow(begin, count);
    const Tensor logits = Tensor::empty(device, {count, local}, sums);
    matmul(x, Transpose::no, weight, Transpose::yes, logits, false);
    const Tensor statistics = Tensor::empty(device, {tensor.size(), count, 3}, sums);
    const Tensor mine = Tensor::empty(device, {1, count, 3}, sums);
    softmax_statistics(logits, target, first, valid, tensor.size() == 1 ? statistics : mine);
    if (tensor.size() > 1) all_gather_into(mine, statistics, tensor, kStatistics).wait();
    const Tensor lse = Tensor::empty(device, {count}, sums), target_logit = Tensor::empty(device, {count}, sums);
    combine_statistics(statistics, lse, target_logit);
    const int64_t from = std::max(begin, own_begin), to = std::min(begin + count, own_end);
    if (from < to)
      total += cross_entropy_sum(lse.narrow(from - begin, to - from), target_logit.narrow(from - begin, to - from),
                                 target.narrow(from - begin, to - from));
    if (!wants_hidden && !wants_head) continue;
    softmax_gradient(logits, lse, target, first, valid, scale);
    Tensor dlogits = logits;
    if (dtype != sums) {
      dlogits = Tensor::empty(device, logits.shape(), dtype);
      convert(dlogits, logits);
    }
    if (wants_hidden) matmul(dlogits, Transpose::no, weight, Transpose::no, dall.narrow(begin, count), false);
    if (wants_head) {
      const Gradient::Target dw = head.gradient()->target();
      matmul(dlogits, Transpose::yes, x, Transpose::no, dw.tensor, dw.accumulate);
    }
  }

  VocabularyLoss result;
  result.sum = total;
  result.loss = tape.op(Tensor::of(device, {1}, sums, {total * scale}), {&hidden, &head},
                        [dall, gx = hidden.gradient(), shape = hidden.shape(), group = &tensor](Tensor seed) {
                          PSCALE_CHECK(seed.item() == 1.0, "the loss must be the end of the tape");
                          if (!gx) return;
                          if (group->size() == 1) {
                            gx->add(dall);
                            return;
                          }
                          const Tensor dx = Tensor::empty(dall.device(), shape, dall.dtype());
                          reduce_scatter_into(dall, dx, *group, kHead).wait();
                          gx->add(dx);
                        });
  return result;
}

}  // namespace pscale
