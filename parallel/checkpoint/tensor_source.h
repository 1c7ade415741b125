// Whole tensors under their Hugging Face names, wherever they are stored: what conversion, evaluation and
// `train.init_from` read from. A checkpoint is one, a Hugging Face folder another.
#pragma once

#include <map>
#include <string>

#include "parallel/checkpoint/state.h"

namespace pscale {

class TensorSource {
 public:
  struct Info {
    DType dtype = DType::float32;
    Shape shape;       ///< as in files
    std::string file;  ///< that holds it, for messages
  };
  virtual ~TensorSource() = default;
  /// What errors call it: the path the user gave.
  virtual const std::string& path() const = 0;
  virtual const std::map<std::string, Info>& tensors() const = 0;
  /// Rows [first, first + count) of dim 0, row-major, in the stored dtype, into `out`. Throws UserError naming file and
  /// tensor where they cannot be read.
  virtual void read_rows(const std::string& name, int64_t first, int64_t count, void* out) = 0;
};

/// Fills weights from a source that holds each of them, in any floating dtype; memory is bounded by a buffer of fixed size
/// and one row. Throws UserError naming file and tensor where one cannot be read, and what `between` throws, which is called
/// now and then.
void load_weights(TensorSource& source, const std::vector<StateTensor>& weights, const std::function<void()>& between = {});

}  // namespace pscale
