#include "parallel/mesh/parallel_config.h"

namespace pscale {

void ParallelConfig::describe(ConfigSection& section) {
  section.add("tensor", tensor, "Ranks that share each matrix", at_least(1));
  section.add(
      "replica", replica,
      "Ranks that share the replicas; 0: the largest divisor of parscale_n that divides the ranks left",
      at_least(0));
  section.add("data", data, "Ranks that share the batch; 0: all ranks that tensor and replica leave",
              at_least(0));
  section.add("transport", transport,
              "How ranks of one machine exchange data: a shared-memory window, MPI, or whichever fits",
              one_of({"auto", "mpi", "shared"}));
}

}  // namespace pscale
