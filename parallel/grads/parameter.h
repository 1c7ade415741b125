// Parameters: declared once, everything else derived.
//
// A declaration (name, shape, placement, initializer, decay?, added?) decides the slice this rank holds, the axes its
// gradient is summed over (all it is not placed on), who owns which element of it, and its hyperslab in a checkpoint.
#pragma once

#include <deque>
#include <span>
#include <string>

#include "core/autograd/var.h"
#include "parallel/mesh/mesh.h"
#include "parallel/mesh/placement.h"

namespace pscale {

struct Initializer {
  enum class Kind : uint8_t { normal, zeros, ones } kind = Kind::normal;
  double deviation = 0.02;  ///< of the normal distribution with mean 0
};

struct ParameterSpec {
  std::string name;       ///< its Hugging Face name
  Shape shape;            ///< of the whole parameter
  Placement placement;    ///< which mesh axis cuts which dim; none: every rank holds it whole
  Initializer initializer;
  bool decay = false;     ///< whether weight decay applies
  bool added = false;     ///< whether ParScale adds it to a pretrained model: all that trains when that is frozen
  Shape file_shape = {};  ///< in files, where it differs: the same elements in the same order
};

class Parameter {
 public:
  const ParameterSpec& spec() const { return spec_; }
  bool trainable() const { return gradient_ != nullptr; }
  /// The rank's slice, padded where a dim does not divide (the padding is zero and stays zero).
  const Tensor& local() const { return local_; }
  /// The part of `local` that exists: all but padding. Only dim 0 is ever padded.
  Tensor valid() const;
  /// Where the valid part lies in the whole parameter.
  const Hyperslab& slab() const { return slab_; }
  /// The ranks that hold the same slice: over these axes its gradient is summed and its elements have one owner.
  AxisSet replicated_over() const { return replicated_over_; }
  Var var() const { return Var(local_, gradient_); }
  const std::shared_ptr<Gradient>& gradient() const { return gradient_; }

 private:
  friend class ParameterSet;
  ParameterSpec spec_;
  Tensor local_;
  Hyperslab slab_;
  AxisSet replicated_over_;
  std::shared_ptr<Gradient> gradient_;
};

/// The parameters of a model in declaration order, which is the order of their use.
class ParameterSet {
 public:
  /// Parameters are created in `dtype`; gradients gather in float32 (float64 for float64).
  ParameterSet(const Device& device, const Mesh& mesh, DType dtype, bool freeze_pretrained)
      : device_(&device), mesh_(&mesh), dtype_(dtype), freeze_(freeze_pretrained) {}
  ParameterSet(ParameterSet&&) = default;

  /// Takes memory for the rank's slice (not for its gradient), zeroed.
  Parameter& declare(ParameterSpec spec);

  std::deque<Parameter>& all() { return parameters_; }
  const std::deque<Parameter>& all() const { return parameters_; }
  /// Throws InvariantError where there is none of that name.
  Parameter& named(const std::string& name);

  const Device& device() const { return *device_; }
  const Mesh& mesh() const { return *mesh_; }
  DType dtype() const { return dtype_; }

 private:
  const Device* device_;
  const Mesh* mesh_;
  DType dtype_;
  bool freeze_;
  std::deque<Parameter> parameters_;  // a deque keeps references valid
};

/// Initial values of the slab `slab` of a parameter, in row-major order: element i of the whole parameter is a function
/// of (seed, name, i) alone.
std::vector<float> initial_values(const ParameterSpec& spec, const Hyperslab& slab, uint64_t seed);

}  // namespace pscale
