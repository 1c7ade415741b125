#include "launch/session.h"

#include <omp.h>
#include <sched.h>

#include <algorithm>
#include <cstdlib>
#include <exception>

namespace pscale {

Layout layout_for(const Config& config, int ranks) {
  const Layout asked{config.parallel.data, config.parallel.replica, config.parallel.tensor};
  const Layout layout = resolve_layout(asked, ranks,
                                       {.replicas = config.model.parscale_n,
                                        .heads = config.model.num_attention_heads,
                                        .kv_heads = config.model.num_key_value_heads,
                                        .intermediate = config.model.intermediate_size});
  accumulation_steps(config, layout.data);
  return layout;
}

int set_threads(int64_t asked, int ranks_on_node) {
  if (asked > 0) {
    omp_set_num_threads(static_cast<int>(asked));
  } else if (std::getenv("OMP_NUM_THREADS") == nullptr) {
    cpu_set_t cores;
    CPU_ZERO(&cores);
    const int available = sched_getaffinity(0, sizeof(cores), &cores) == 0 ? CPU_COUNT(&cores) : omp_get_num_procs();
    omp_set_num_threads(std::max(1, available / ranks_on_node));
  }
  return omp_get_max_threads();
}

namespace {

Transport transport_of(const Config& config) {
  if (config.parallel.transport == "mpi") return Transport::mpi;
  if (config.parallel.transport == "shared") return Transport::shared;
  return Transport::automatic;
}

}  // namespace

Session::Session(const Config& config, MpiWorld& world)
    : exceptions_(std::uncaught_exceptions()),
      device_(std::make_unique<Device>(config.run.device == "cuda" ? Device::cuda(world.local_rank())
                                                                   : Device::cpu())),
      mesh_(make_mesh(world, layout_for(config, world.size()), transport_of(config))) {
  set_threads(config.run.threads, world.ranks_on_node());
}

Session::~Session() {
  if (std::uncaught_exceptions() == exceptions_) return;
  static_cast<void>(device_.release());
  static_cast<void>(mesh_.release());
}

}  // namespace pscale
