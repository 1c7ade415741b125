// MPI for the life of the program, and the thread that drives it.
//
// Collectives are jobs of one progress thread, which runs them one after the other in the order they were started. All
// ranks start the same collectives in the same order, so one queue over all groups cannot deadlock. While ranks compute,
// this thread moves the data: no computing thread ever calls MPI. It sleeps while it waits for other ranks.
#pragma once

#include <mpi.h>

#include <atomic>
#include <condition_variable>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <thread>

#include "parallel/comm/communicator.h"
#include "parallel/comm/last_collective.h"
#include "parallel/mesh/mesh.h"

namespace pscale {

/// Throws InvariantError naming the call, the rank and what MPI says, where `code` is not success.
void check_mpi(int code, const char* call);

class ProgressThread {
 public:
  explicit ProgressThread(std::shared_ptr<LastCollective> last);
  ~ProgressThread();  ///< runs what is queued, then ends
  ProgressThread(const ProgressThread&) = delete;
  ProgressThread& operator=(const ProgressThread&) = delete;

  /// Runs `job`, which is this collective, after all earlier ones. Its time, and the time that a thread waits for anything while
  /// it runs, go to `counters` under its axes and purpose: a wait in the queue counts to those that hold the queue up.
  Request start(std::function<void()> job, CommCounters& counters, const Collective& collective);

 private:
  class Job;
  using Waiting = std::atomic<double>;
  void loop();
  std::shared_ptr<LastCollective> last_;
  std::shared_ptr<Waiting> waiting_ = std::make_shared<Waiting>(0);  ///< since when a thread waits, on the clock; 0: none does
  std::mutex mutex_;
  std::condition_variable queued_;
  std::deque<std::shared_ptr<Job>> jobs_;
  bool ending_ = false;
  std::thread thread_;
};

/// How ranks of one machine talk. `automatic` takes shared memory where all ranks of a group are on one machine.
enum class Transport : uint8_t { automatic, mpi, shared };

class MpiWorld {
 public:
  /// `last` is told of every collective; for a watchdog, which watches before there is a world and after.
  MpiWorld(int argc, char** argv, std::shared_ptr<LastCollective> last = std::make_shared<LastCollective>());
  /// Finalizes MPI; after an exception it does not, so that mpirun ends the other ranks.
  ~MpiWorld();
  MpiWorld(const MpiWorld&) = delete;
  MpiWorld& operator=(const MpiWorld&) = delete;

  int rank() const { return rank_; }
  int size() const { return size_; }
  int ranks_on_node() const { return ranks_on_node_; }
  int local_rank() const { return local_rank_; }  ///< among those, from 0, however ranks are spread over nodes
  ProgressThread& progress() { return *progress_; }

 private:
  int rank_ = 0, size_ = 1, ranks_on_node_ = 1, local_rank_ = 0;
  int exceptions_;
  std::unique_ptr<ProgressThread> progress_;
};

/// Ends the processes of all ranks, from any thread and whatever other threads do; this one at once where there is no MPI, and
/// within seconds where MPI hangs. Only a watchdog and main may.
[[noreturn]] void abort_job(int code);

/// Communicators for every group of the layout. `layout` covers all ranks of the world. Collective. The world must
/// outlive the mesh.
std::unique_ptr<Mesh> make_mesh(MpiWorld& world, const Layout& layout, Transport transport = Transport::automatic);

/// "Open MPI v4.1.4", of the library that is linked.
std::string mpi_version();

/// Rank and ranks of the launcher (mpirun, srun) as the environment tells, without starting MPI; 0 and 1 where there is
/// none.
int launched_rank();
int launched_ranks();

}  // namespace pscale
