#include "parallel/comm/shared_window.h"

#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <climits>
#include <cstring>
#include <ctime>
#include <thread>

#include "core/base/errors.h"
#include "parallel/comm/mpi_world.h"

namespace pscale {

namespace {

constexpr int64_t kHeaderBytes = 4096;
constexpr int64_t kHalfBytes = kWindowBytes / 2;

std::atomic<uint32_t>& arrived(char* segment) { return *reinterpret_cast<std::atomic<uint32_t>*>(segment); }
std::atomic<uint32_t>& sleepers(char* segment) { return *reinterpret_cast<std::atomic<uint32_t>*>(segment + 64); }

void sleep_while(std::atomic<uint32_t>& word, uint32_t value) {
  const timespec limit{0, 50'000'000};  // looks again in case a wake-up was missed
  syscall(SYS_futex, reinterpret_cast<uint32_t*>(&word), FUTEX_WAIT, value, &limit, nullptr, 0);
}

void wake_all(std::atomic<uint32_t>& word) {
  syscall(SYS_futex, reinterpret_cast<uint32_t*>(&word), FUTEX_WAKE, INT_MAX, nullptr, nullptr, 0);
}

/// out = sum over ranks of rows[r], in rank order, in the accumulation type.
template <class T>
void sum_rows(T* __restrict out, const std::vector<const T*>& rows, int64_t count) {
  using Sum = std::conditional_t<std::is_same_v<T, bfloat16>, float, T>;
  if (rows.size() == 2) {
    const T *__restrict a = rows[0], *__restrict b = rows[1];
    for (int64_t i = 0; i < count; ++i) out[i] = T(static_cast<Sum>(a[i]) + static_cast<Sum>(b[i]));
    return;
  }
  constexpr int64_t kBlock = 1024;
  Sum sums[kBlock];
  for (int64_t begin = 0; begin < count; begin += kBlock) {
    const int64_t n = std::min(kBlock, count - begin);
    for (int64_t i = 0; i < n; ++i) sums[i] = static_cast<Sum>(rows[0][begin + i]);
    for (size_t r = 1; r < rows.size(); ++r) {
      const T* __restrict row = rows[r] + begin;
      for (int64_t i = 0; i < n; ++i) sums[i] += static_cast<Sum>(row[i]);
    }
    for (int64_t i = 0; i < n; ++i) out[begin + i] = T(sums[i]);
  }
}

template <class T>
void max_rows(T* out, const std::vector<const T*>& rows, int64_t count) {
  for (int64_t i = 0; i < count; ++i) {
    T most = rows[0][i];
    for (size_t r = 1; r < rows.size(); ++r)
      if (most < rows[r][i]) most = rows[r][i];
    out[i] = most;
  }
}

template <class F>
void with_type(DType type, F&& f) {
  if (type == DType::int32) {
    f(int32_t{});
  } else {
    dispatch_float(type, f);
  }
}

}  // namespace

SharedWindow::SharedWindow(MPI_Comm group) {
  check_mpi(MPI_Comm_rank(group, &rank_), "MPI_Comm_rank");
  check_mpi(MPI_Comm_size(group, &size_), "MPI_Comm_size");
  spins_ = size_ <= static_cast<int>(std::thread::hardware_concurrency()) / 2;
  char* mine = nullptr;
  check_mpi(MPI_Win_allocate_shared(kHeaderBytes + kWindowBytes, 1, MPI_INFO_NULL, group, &mine, &window_),
            "MPI_Win_allocate_shared");
  new (&arrived(mine)) std::atomic<uint32_t>(0);
  new (&sleepers(mine)) std::atomic<uint32_t>(0);
  for (int r = 0; r < size_; ++r) {
    MPI_Aint bytes = 0;
    int unit = 0;
    void* base = nullptr;
    check_mpi(MPI_Win_shared_query(window_, r, &bytes, &unit, &base), "MPI_Win_shared_query");
    segments_.push_back(static_cast<char*>(base));
  }
  check_mpi(MPI_Barrier(group), "MPI_Barrier");
}

SharedWindow::~SharedWindow() {
  int finalized = 0;
  MPI_Finalized(&finalized);
  if (!finalized) MPI_Win_free(&window_);
}

char* SharedWindow::half(int rank) const {
  return segments_[static_cast<size_t>(rank)] + kHeaderBytes + (round_ % 2) * kHalfBytes;
}

void SharedWindow::publish_and_wait() {
  const uint32_t target = round_ + 1;
  std::atomic<uint32_t>& own = arrived(segments_[static_cast<size_t>(rank_)]);
  own.store(target, std::memory_order_seq_cst);
  if (sleepers(segments_[static_cast<size_t>(rank_)]).load(std::memory_order_seq_cst) > 0) wake_all(own);
  for (int r = 0; r < size_; ++r) {
    std::atomic<uint32_t>& word = arrived(segments_[static_cast<size_t>(r)]);
    const auto behind = [&] { return static_cast<int32_t>(word.load(std::memory_order_acquire) - target) < 0; };
    for (int spin = 0; spins_ && spin < 2000 && behind(); ++spin) __builtin_ia32_pause();
    for (int yield = 0; yield < 4 && behind(); ++yield) std::this_thread::yield();
    while (behind()) {
      std::atomic<uint32_t>& asleep = sleepers(segments_[static_cast<size_t>(r)]);
      asleep.fetch_add(1, std::memory_order_seq_cst);
      const uint32_t seen = word.load(std::memory_order_seq_cst);
      if (static_cast<int32_t>(seen - target) < 0) sleep_while(word, seen);
      asleep.fetch_sub(1, std::memory_order_seq_cst);
    }
  }
}

void SharedWindow::all_gather(const void* send, void* receive, int64_t count, DType type) {
  const int64_t bytes = count * size_of(type);
  const char* from = static_cast<const char*>(send);
  char* to = static_cast<char*>(receive);
  if (from != to + rank_ * bytes) std::memcpy(to + rank_ * bytes, from, static_cast<size_t>(bytes));
  for (int64_t begin = 0; begin < bytes; begin += kHalfBytes) {
    const size_t n = static_cast<size_t>(std::min(kHalfBytes, bytes - begin));
    std::memcpy(half(rank_), from + begin, n);
    publish_and_wait();
    for (int i = 1; i < size_; ++i) {  // each rank starts with its neighbour, so that not all read the same memory
      const int r = (rank_ + i) % size_;
      std::memcpy(to + r * bytes + begin, half(r), n);
    }
    ++round_;
  }
}

void SharedWindow::reduce_scatter(const void* send, void* receive, int64_t count, DType type) {
  const int64_t width = size_of(type), chunk = kHalfBytes / width / size_;
  const char* from = static_cast<const char*>(send);
  with_type(type, [&]<class T>(T) {
    std::vector<const T*> rows(static_cast<size_t>(size_));
    for (int64_t begin = 0; begin < count; begin += chunk) {
      const int64_t n = std::min(chunk, count - begin);
      for (int r = 0; r < size_; ++r)
        if (r != rank_)
          std::memcpy(half(rank_) + r * chunk * width, from + (r * count + begin) * width, static_cast<size_t>(n * width));
      publish_and_wait();
      for (int r = 0; r < size_; ++r)
        rows[static_cast<size_t>(r)] =
            r == rank_ ? reinterpret_cast<const T*>(from + (rank_ * count + begin) * width)
                       : reinterpret_cast<const T*>(half(r) + rank_ * chunk * width);
      sum_rows(static_cast<T*>(receive) + begin, rows, n);
      ++round_;
    }
  });
}

void SharedWindow::all_reduce(void* inout, int64_t count, DType type, Reduction reduction) {
  const int64_t width = size_of(type), chunk = kHalfBytes / width;
  with_type(type, [&]<class T>(T) {
    std::vector<const T*> rows(static_cast<size_t>(size_));
    for (int64_t begin = 0; begin < count; begin += chunk) {
      const int64_t n = std::min(chunk, count - begin);
      T* part = static_cast<T*>(inout) + begin;
      std::memcpy(half(rank_), part, static_cast<size_t>(n * width));
      publish_and_wait();
      for (int r = 0; r < size_; ++r) rows[static_cast<size_t>(r)] = reinterpret_cast<const T*>(half(r));
      if (reduction == Reduction::sum) {
        sum_rows(part, rows, n);
      } else {
        max_rows(part, rows, n);
      }
      ++round_;
    }
  });
}

void SharedWindow::barrier() {
  publish_and_wait();
  ++round_;
}

}  // namespace pscale
