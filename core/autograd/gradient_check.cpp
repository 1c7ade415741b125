#include "core/autograd/gradient_check.h"

#include <algorithm>
#include <cmath>

namespace pscale {

namespace {

// Weights of the outputs: irrational steps, so that no error cancels.
std::vector<double> projection(int64_t elements) {
  std::vector<double> r(static_cast<size_t>(elements));
  for (size_t i = 0; i < r.size(); ++i) r[i] = std::sin(1.7 * static_cast<double>(i) + 0.3) + 0.25;
  return r;
}

double projected(const Tensor& out) {
  const std::vector<double> values = out.to_vector(), r = projection(out.elements());
  double sum = 0;
  for (size_t i = 0; i < r.size(); ++i) sum += values[i] * r[i];
  return sum;
}

}  // namespace

std::string check_gradients(const std::function<Var(Tape&, const std::vector<Var>&)>& f, std::vector<Tensor> inputs,
                            const GradientCheck& options) {
  // Operators may work in place on an input, so each evaluation gets copies.
  const auto copies = [&] {
    std::vector<Tensor> fresh;
    for (const Tensor& input : inputs) {
      fresh.push_back(Tensor::empty_like(input));
      fresh.back().copy_from(input);
    }
    return fresh;
  };
  const auto value = [&] {
    Tape off(Tape::Mode::off);
    std::vector<Var> vars;
    for (Tensor& t : copies()) vars.push_back(constant(t));
    return projected(f(off, vars).value());
  };

  Tape tape;
  std::vector<Var> vars;
  for (Tensor& t : copies()) vars.push_back(leaf(t));
  {
    const Var out = f(tape, vars);
    tape.backward(out, Tensor::of(out.device(), out.shape(), out.dtype(), projection(out.value().elements())));
  }

  for (size_t i = 0; i < inputs.size(); ++i) {
    PSCALE_CHECK(inputs[i].dtype() == DType::float64 && inputs[i].contiguous(), "input ", i);
    if (!vars[i].gradient()->defined()) return cat("input ", i, " got no gradient");
    const std::vector<double> analytic = vars[i].gradient()->value().to_vector();
    const int64_t count = inputs[i].elements();
    const int64_t stride = std::max<int64_t>(1, count / options.most_elements);
    double largest = 1;
    std::vector<std::pair<int64_t, double>> numeric;
    for (int64_t e = 0; e < count; e += stride) {
      double* x = inputs[i].data<double>() + e;
      const double kept = *x;
      *x = kept + options.step;
      const double above = value();
      *x = kept - options.step;
      const double below = value();
      *x = kept;
      numeric.emplace_back(e, (above - below) / (2 * options.step));
      largest = std::max(largest, std::abs(numeric.back().second));
    }
    for (const auto& [e, expected] : numeric) {
      const double got = analytic[static_cast<size_t>(e)];
      if (!(std::abs(got - expected) <= options.tolerance * largest))
        return cat("input ", i, " element ", e, ": gradient ", got, ", finite difference ", expected);
    }
  }
  return "";
}

}  // namespace pscale
