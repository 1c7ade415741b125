// A model folder of Hugging Face: config.json, and model.safetensors or model.safetensors.index.json with the files
// that it names.
#pragma once

#include <vector>

#include "models/hf/safetensors.h"
#include "models/parscale/model_config.h"
#include "parallel/checkpoint/tensor_source.h"

namespace pscale {

/// Left out: buffers that some programs store though they follow from config.json (rotary_emb.inv_freq), and with
/// tie_word_embeddings an lm_head.weight that equals the embedding. F16 tensors are given as float32.
class HfFolder final : public TensorSource {
 public:
  /// Opens all files and checks their headers. Throws UserError with all problems, each naming the file and the tensor.
  explicit HfFolder(const std::string& path);

  const std::string& path() const override { return path_; }
  const std::map<std::string, Info>& tensors() const override { return tensors_; }
  void read_rows(const std::string& name, int64_t first, int64_t count, void* out) override;

  const ModelConfig& config() const { return config_; }

 private:
  void open_index(const std::string& index);
  void open_single(const std::string& file);
  void take(const std::string& name, size_t file, std::vector<std::string>& problems);
  void drop_tied_head();

  std::string path_;
  ModelConfig config_;
  std::vector<SafetensorsFile> files_;
  std::map<std::string, size_t> places_;  ///< the file that holds each tensor
  std::map<std::string, Info> tensors_;
};

/// Whether a path is such a folder: it has a config.json.
bool is_hf_folder(const std::string& path);

}  // namespace pscale
