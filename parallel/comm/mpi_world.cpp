#include "parallel/comm/mpi_world.h"

#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <exception>

#include "core/base/errors.h"
#include "parallel/comm/mpi_communicator.h"

namespace pscale {

namespace {

constexpr unsigned kAbortSeconds = 10;  // then SIGALRM ends the process

double now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

int number_from(std::initializer_list<const char*> names, int otherwise) {
  for (const char* name : names)
    if (const char* text = std::getenv(name)) return std::atoi(text);
  return otherwise;
}

/// Slurm's tasks that know nothing of each other would each train alone, into one folder.
void refuse_lone_tasks(bool alone) {
  const int tasks = number_from({"SLURM_NTASKS"}, 1);
  if (!alone || tasks <= 1 || std::getenv("SLURM_JOB_ID") == nullptr) return;
  throw UserError(cat("Slurm gave this job ", tasks, " tasks, but MPI sees one rank: start it with srun --mpi=pmix (srun --mpi=list shows what "
                      "this Slurm has), with mpirun, or with launch/train.sh; for one rank on purpose: mpirun -np 1"));
}

bool has_launcher() { return number_from({"OMPI_COMM_WORLD_RANK", "PMIX_RANK", "PMI_RANK"}, -1) >= 0; }

}  // namespace

void check_mpi(int code, const char* call) {
  if (code == MPI_SUCCESS) return;
  char text[MPI_MAX_ERROR_STRING] = "";
  int length = 0, rank = -1;
  MPI_Error_string(code, text, &length);
  MPI_Comm_rank(MPI_COMM_WORLD, &rank);
  throw InvariantError(__FILE__, __LINE__, cat("rank ", rank, ": ", call, ": ", text));
}

class ProgressThread::Job final : public Request::State {
 public:
  Job(std::function<void()> work, CommCounters& counters, const Collective& collective, std::shared_ptr<Waiting> waiting)
      : work_(std::move(work)),
        waiting_(std::move(waiting)),
        counters_(&counters),
        collective_(collective),
        key_{collective.axes, collective.purpose},
        started_(now()) {}

  void run(LastCollective& last) {
    std::exception_ptr failure;
    const double begun = now();
    last.begin(collective_);
    try {
      work_();
    } catch (...) {
      failure = std::current_exception();
    }
    last.end();
    work_ = nullptr;
    const double ended = now(), since = *waiting_;
    counters_->add_time(key_, ended - started_);
    if (since > 0) counters_->add_wait(key_, ended - std::max(begun, since));
    std::lock_guard lock(mutex_);
    failure_ = failure;
    done_ = true;
    changed_.notify_all();
  }

  void wait() override {
    std::unique_lock lock(mutex_);
    if (!done_) {
      *waiting_ = now();
      changed_.wait(lock, [&] { return done_; });
      *waiting_ = 0;
    }
    lock.unlock();
    if (failure_) std::rethrow_exception(failure_);
  }

  bool done() override {
    std::lock_guard lock(mutex_);
    return done_;
  }

 private:
  std::function<void()> work_;
  std::shared_ptr<Waiting> waiting_;
  CommCounters* counters_;
  Collective collective_;
  CommKey key_;
  double started_;
  std::mutex mutex_;
  std::condition_variable changed_;
  bool done_ = false;
  std::exception_ptr failure_;
};

ProgressThread::ProgressThread(std::shared_ptr<LastCollective> last)
    : last_(std::move(last)), thread_([this] { loop(); }) {}

ProgressThread::~ProgressThread() {
  {
    std::lock_guard lock(mutex_);
    ending_ = true;
  }
  queued_.notify_all();
  thread_.join();
}

Request ProgressThread::start(std::function<void()> job, CommCounters& counters, const Collective& collective) {
  auto state = std::make_shared<Job>(std::move(job), counters, collective, waiting_);
  {
    std::lock_guard lock(mutex_);
    jobs_.push_back(state);
  }
  queued_.notify_one();
  return Request(state);
}

void ProgressThread::loop() {
  for (;;) {
    std::shared_ptr<Job> job;
    {
      std::unique_lock lock(mutex_);
      queued_.wait(lock, [&] { return ending_ || !jobs_.empty(); });
      if (jobs_.empty()) return;
      job = std::move(jobs_.front());
      jobs_.pop_front();
    }
    job->run(*last_);
  }
}

MpiWorld::MpiWorld(int argc, char** argv, std::shared_ptr<LastCollective> last)
    : exceptions_(std::uncaught_exceptions()) {
  int provided = 0;
  // Open MPI ends the process itself where srun started it without PMIx, and says nothing of the fix.
  refuse_lone_tasks(!has_launcher());
  const bool by_mpirun = std::getenv("OMPI_COMM_WORLD_RANK") != nullptr;
  check_mpi(MPI_Init_thread(&argc, &argv, MPI_THREAD_SERIALIZED, &provided), "MPI_Init_thread");
  if (provided < MPI_THREAD_SERIALIZED)
    throw UserError("this MPI does not support MPI_THREAD_SERIALIZED; use an MPI built with thread support");
  check_mpi(MPI_Comm_set_errhandler(MPI_COMM_WORLD, MPI_ERRORS_RETURN), "MPI_Comm_set_errhandler");
  check_mpi(MPI_Comm_rank(MPI_COMM_WORLD, &rank_), "MPI_Comm_rank");
  check_mpi(MPI_Comm_size(MPI_COMM_WORLD, &size_), "MPI_Comm_size");
  refuse_lone_tasks(size_ == 1 && !by_mpirun);
  MPI_Comm node = MPI_COMM_NULL;
  check_mpi(MPI_Comm_split_type(MPI_COMM_WORLD, MPI_COMM_TYPE_SHARED, 0, MPI_INFO_NULL, &node), "MPI_Comm_split_type");
  check_mpi(MPI_Comm_size(node, &ranks_on_node_), "MPI_Comm_size");
  check_mpi(MPI_Comm_rank(node, &local_rank_), "MPI_Comm_rank");
  check_mpi(MPI_Comm_free(&node), "MPI_Comm_free");
  progress_ = std::make_unique<ProgressThread>(std::move(last));
}

MpiWorld::~MpiWorld() {
  if (std::uncaught_exceptions() > exceptions_) {
    // Other ranks may never come to the collectives that are queued: the thread is left to the end of the process.
    static_cast<void>(progress_.release());
    return;
  }
  progress_.reset();
  MPI_Finalize();
}

void abort_job(int code) {
  alarm(kAbortSeconds);
  int started = 0, ended = 0;
  MPI_Initialized(&started);
  MPI_Finalized(&ended);
  // Another thread may be inside MPI, which only one may be; but no other call ends the ranks of all machines.
  if (started && !ended) MPI_Abort(MPI_COMM_WORLD, code);
  _exit(code);
}

std::string mpi_version() {
  char text[MPI_MAX_LIBRARY_VERSION_STRING] = {};
  int length = 0;
  check_mpi(MPI_Get_library_version(text, &length), "MPI_Get_library_version");
  const std::string version(text, static_cast<size_t>(length));
  return version.substr(0, version.find_first_of(",\n"));
}

int launched_rank() { return number_from({"OMPI_COMM_WORLD_RANK", "PMIX_RANK", "PMI_RANK", "SLURM_PROCID"}, 0); }
int launched_ranks() { return number_from({"OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "SLURM_NTASKS"}, 1); }

std::unique_ptr<Mesh> make_mesh(MpiWorld& world, const Layout& layout, Transport transport) {
  PSCALE_CHECK(layout.world() == world.size(), to_string(layout), " on ", world.size(), " ranks");
  auto counters = std::make_unique<CommCounters>();
  Mesh::Groups groups;
  for (const AxisSet axes : layout.groups()) {
    const int color = static_cast<int>(layout.members(axes, world.rank()).front());
    groups[axes] = std::make_unique<MpiCommunicator>(MPI_COMM_WORLD, color, axes, world.progress(), *counters, transport);
  }
  return std::make_unique<Mesh>(layout, world.rank(), std::move(groups), std::move(counters));
}

}  // namespace pscale
