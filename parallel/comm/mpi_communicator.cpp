#include "parallel/comm/mpi_communicator.h"

#include <algorithm>
#include <cstring>
#include <ctime>
#include <vector>

#include "core/base/errors.h"
#include "parallel/comm/shared_window.h"

namespace pscale {

namespace {

constexpr int64_t kMostElements = int64_t{1} << 28;  // of one MPI call, whose counts are int

MPI_Datatype mpi_type(DType type) {
  switch (type) {
    case DType::float32: return MPI_FLOAT;
    case DType::float64: return MPI_DOUBLE;
    case DType::int32: return MPI_INT32_T;
    case DType::bfloat16: return MPI_UINT16_T;
  }
  return MPI_BYTE;
}

void add_bfloat16(void* in, void* inout, int* count, MPI_Datatype*) {
  const bfloat16* a = static_cast<const bfloat16*>(in);
  bfloat16* b = static_cast<bfloat16*>(inout);
  for (int i = 0; i < *count; ++i) b[i] = bfloat16(static_cast<float>(a[i]) + static_cast<float>(b[i]));
}

void max_bfloat16(void* in, void* inout, int* count, MPI_Datatype*) {
  const bfloat16* a = static_cast<const bfloat16*>(in);
  bfloat16* b = static_cast<bfloat16*>(inout);
  for (int i = 0; i < *count; ++i)
    if (static_cast<float>(b[i]) < static_cast<float>(a[i])) b[i] = a[i];
}

/// The MPI operation for a type; bfloat16 needs one of our own for the time of the call.
class Operation {
 public:
  Operation(DType type, Reduction reduction) {
    const bool sum = reduction == Reduction::sum;
    if (type == DType::bfloat16) {
      check_mpi(MPI_Op_create(sum ? add_bfloat16 : max_bfloat16, 1, &op_), "MPI_Op_create");
      own_ = true;
    } else {
      op_ = sum ? MPI_SUM : MPI_MAX;
    }
  }
  ~Operation() {
    if (own_) MPI_Op_free(&op_);
  }
  Operation(const Operation&) = delete;
  Operation& operator=(const Operation&) = delete;
  MPI_Op get() const { return op_; }

 private:
  MPI_Op op_ = MPI_OP_NULL;
  bool own_ = false;
};

/// Drives MPI until the request is complete, sleeping between looks: a rank may have no core of its own.
void finish(MPI_Request& request, const char* call) {
  int done = 0;
  for (int64_t looks = 0;; ++looks) {
    check_mpi(MPI_Test(&request, &done, MPI_STATUS_IGNORE), call);
    if (done) return;
    if (looks > 100) {
      const timespec pause{0, 20'000};
      nanosleep(&pause, nullptr);
    }
  }
}

}  // namespace

MpiCommunicator::MpiCommunicator(MPI_Comm parent, int color, AxisSet axes, ProgressThread& progress,
                                 CommCounters& counters, Transport transport)
    : axes_(axes), progress_(&progress), counters_(&counters) {
  check_mpi(MPI_Comm_split(parent, color, 0, &group_), "MPI_Comm_split");
  check_mpi(MPI_Comm_rank(group_, &rank_), "MPI_Comm_rank");
  check_mpi(MPI_Comm_size(group_, &size_), "MPI_Comm_size");
  if (transport == Transport::mpi) return;
  MPI_Comm node = MPI_COMM_NULL;
  int together = 0;
  check_mpi(MPI_Comm_split_type(group_, MPI_COMM_TYPE_SHARED, 0, MPI_INFO_NULL, &node), "MPI_Comm_split_type");
  check_mpi(MPI_Comm_size(node, &together), "MPI_Comm_size");
  check_mpi(MPI_Comm_free(&node), "MPI_Comm_free");
  int smallest = 0;
  check_mpi(MPI_Allreduce(&together, &smallest, 1, MPI_INT, MPI_MIN, group_), "MPI_Allreduce");
  if (smallest == size_) {
    window_ = std::make_unique<SharedWindow>(group_);
  } else if (transport == Transport::shared) {
    throw UserError(cat("parallel.transport = \"shared\": the ranks over ", axes.name(),
                        " are on several machines; use \"auto\" or \"mpi\""));
  }
}

MpiCommunicator::~MpiCommunicator() {
  window_.reset();
  int finalized = 0;
  MPI_Finalized(&finalized);
  if (!finalized && group_ != MPI_COMM_NULL) MPI_Comm_free(&group_);
}

int64_t MpiCommunicator::memory_bytes() const { return window_ ? window_->memory_bytes() : 0; }

Request MpiCommunicator::start(std::function<void()> job, const char* operation, int64_t count, int64_t sent, DType type,
                               Purpose purpose) {
  counters_->add({axes_, purpose.name}, sent, sent * size_of(type));
  return progress_->start(std::move(job), *counters_, {operation, axes_, purpose.name.data(), count, type});
}

Request MpiCommunicator::all_reduce(void* inout, int64_t count, DType type, Reduction reduction, Purpose purpose) {
  const int64_t sent = 2 * (size_ - 1) * count / size_;
  if (window_)
    return start([=, this] { window_->all_reduce(inout, count, type, reduction); }, "all_reduce", count, sent, type, purpose);
  return start(
      [=, this] {
        const Operation op(type, reduction);
        for (int64_t begin = 0; begin < count; begin += kMostElements) {
          const int n = static_cast<int>(std::min(kMostElements, count - begin));
          MPI_Request request = MPI_REQUEST_NULL;
          check_mpi(MPI_Iallreduce(MPI_IN_PLACE, static_cast<char*>(inout) + begin * size_of(type), n, mpi_type(type),
                                   op.get(), group_, &request),
                    "MPI_Iallreduce");
          finish(request, "MPI_Iallreduce");
        }
      },
      "all_reduce", count, sent, type, purpose);
}

Request MpiCommunicator::all_gather(const void* send, void* receive, int64_t count, DType type, Purpose purpose) {
  const int64_t sent = (size_ - 1) * count;
  if (window_)
    return start([=, this] { window_->all_gather(send, receive, count, type); }, "all_gather", count, sent, type, purpose);
  return start(
      [=, this] {
        const int64_t width = size_of(type);
        const int64_t chunk = std::min(count, std::max<int64_t>(1, kMostElements / size_));
        const char* from = static_cast<const char*>(send);
        char* to = static_cast<char*>(receive);
        if (chunk == count) {
          const bool in_place = from == to + rank_ * count * width;
          MPI_Request request = MPI_REQUEST_NULL;
          check_mpi(MPI_Iallgather(in_place ? MPI_IN_PLACE : send, static_cast<int>(count), mpi_type(type), receive,
                                   static_cast<int>(count), mpi_type(type), group_, &request),
                    "MPI_Iallgather");
          finish(request, "MPI_Iallgather");
          return;
        }
        std::vector<char> parts(static_cast<size_t>(chunk * size_ * width));
        for (int64_t begin = 0; begin < count; begin += chunk) {
          const int n = static_cast<int>(std::min(chunk, count - begin));
          MPI_Request request = MPI_REQUEST_NULL;
          check_mpi(MPI_Iallgather(from + begin * width, n, mpi_type(type), parts.data(), n, mpi_type(type), group_, &request),
                    "MPI_Iallgather");
          finish(request, "MPI_Iallgather");
          for (int r = 0; r < size_; ++r)
            std::memmove(to + (r * count + begin) * width, parts.data() + r * n * width, static_cast<size_t>(n * width));
        }
      },
      "all_gather", count, sent, type, purpose);
}

Request MpiCommunicator::reduce_scatter(const void* send, void* receive, int64_t count, DType type, Purpose purpose) {
  const int64_t sent = (size_ - 1) * count;
  if (window_)
    return start([=, this] { window_->reduce_scatter(send, receive, count, type); }, "reduce_scatter", count, sent, type,
                 purpose);
  return start(
      [=, this] {
        const Operation op(type, Reduction::sum);
        const int64_t width = size_of(type);
        const int64_t chunk = std::min(count, std::max<int64_t>(1, kMostElements / size_));
        const char* from = static_cast<const char*>(send);
        std::vector<char> parts;
        for (int64_t begin = 0; begin < count; begin += chunk) {
          const int n = static_cast<int>(std::min(chunk, count - begin));
          const void* source = send;
          if (chunk != count) {
            parts.resize(static_cast<size_t>(n * size_ * width));
            for (int r = 0; r < size_; ++r)
              std::memcpy(parts.data() + r * n * width, from + (r * count + begin) * width, static_cast<size_t>(n * width));
            source = parts.data();
          }
          MPI_Request request = MPI_REQUEST_NULL;
          check_mpi(MPI_Ireduce_scatter_block(source, static_cast<char*>(receive) + begin * width, n, mpi_type(type),
                                              op.get(), group_, &request),
                    "MPI_Ireduce_scatter_block");
          finish(request, "MPI_Ireduce_scatter_block");
        }
      },
      "reduce_scatter", count, sent, type, purpose);
}

void MpiCommunicator::barrier() {
  start(
      [this] {
        if (window_) {
          window_->barrier();
          return;
        }
        MPI_Request request = MPI_REQUEST_NULL;
        check_mpi(MPI_Ibarrier(group_, &request), "MPI_Ibarrier");
        finish(request, "MPI_Ibarrier");
      },
      "barrier", 0, 0, DType::int32, Purpose{"barrier"})
      .wait();
}

}  // namespace pscale
