// What a model declares against what a source holds, and how messages list tensors.
#pragma once

#include <string>
#include <vector>

#include "models/parscale/model_config.h"
#include "parallel/checkpoint/tensor_source.h"
#include "parallel/grads/parameter.h"

namespace pscale {

/// Names that a message shows before "and N more".
constexpr size_t kNamesShown = 20;

/// "a, b, c and 4 more".
std::string names_of(const std::vector<std::string>& names);

/// The parameters that a model of this shape declares, in order. Takes no memory for their values.
std::vector<ParameterSpec> declared_parameters(const ModelConfig& config);
/// The shape of a parameter in files.
inline const Shape& shape_in_files(const ParameterSpec& spec) {
  return spec.file_shape.empty() ? spec.shape : spec.file_shape;
}

struct TensorDifferences {
  std::vector<std::string> missing;     ///< declared, not held
  std::vector<std::string> unexpected;  ///< held, not declared
  std::vector<std::string> misshapen;   ///< "NAME [2, 3] instead of [2, 4]"

  /// One sentence for each kind that there is, naming `source` and the tensors.
  std::vector<std::string> problems(const std::string& source) const;
};

TensorDifferences compare_tensors(const std::map<std::string, TensorSource::Info>& held,
                                  const std::vector<ParameterSpec>& declared);

/// Throws UserError where `source` does not hold exactly what a model of this shape declares.
void check_tensors(const TensorSource& source, const ModelConfig& config);

}  // namespace pscale
