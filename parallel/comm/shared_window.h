// Collectives among ranks of one machine through memory they share (an MPI shared-memory window).
//
// Each rank has a segment of two halves. In every round it writes into one half, says so, waits until all have, and reads
// the others' halves; the halves alternate, so a half is written again only when everybody has read it. Sums are taken in
// rank order: the same bits every time. Waiting ranks sleep (futex), since there may be more ranks than cores.
// Only the progress thread may call the collectives.
#pragma once

#include <mpi.h>

#include <cstdint>
#include <vector>

#include "core/tensor/dtype.h"
#include "parallel/comm/communicator.h"

namespace pscale {

/// Bytes of a rank's two halves together.
inline constexpr int64_t kWindowBytes = int64_t{2} << 20;

class SharedWindow {
 public:
  /// Collective over `group`, whose ranks are all on this machine.
  explicit SharedWindow(MPI_Comm group);
  ~SharedWindow();
  SharedWindow(const SharedWindow&) = delete;
  SharedWindow& operator=(const SharedWindow&) = delete;

  void all_reduce(void* inout, int64_t count, DType type, Reduction reduction);
  void all_gather(const void* send, void* receive, int64_t count, DType type);
  void reduce_scatter(const void* send, void* receive, int64_t count, DType type);
  void barrier();
  int64_t memory_bytes() const { return kWindowBytes; }

 private:
  char* half(int rank) const;  ///< of the current round
  void publish_and_wait();     ///< ends the writing of the current round
  MPI_Win window_ = MPI_WIN_NULL;
  int rank_ = 0, size_ = 1;
  std::vector<char*> segments_;
  uint32_t round_ = 0;
  bool spins_ = false;  ///< a short spin before sleeping: only where every rank has a core
};

}  // namespace pscale
