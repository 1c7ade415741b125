// Blocked attention on CPU. A task is one (sequence, key/value head) and, unless attention is joint, one stream; a task's
// keys and values are packed once into dense rows of the accumulation type. The query heads that share a key/value head
// are stacked, so that block products have many rows. Each gradient has one writer: the same bits every time.
#include "core/ops/attention.h"

#include <dnnl.h>
#include <stdlib.h>

#include "core/cpu/simd/typed.h"

namespace pscale::cpu::PSCALE_ISA {
namespace {

constexpr int64_t kQueries = 64;  // positions of a query block
constexpr int64_t kKeys = 128;    // of a key block

inline int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }
inline int64_t most(int64_t a, int64_t b) { return a > b ? a : b; }

// C [m, n] = alpha op(A) op(B) + beta C; inside a parallel region oneDNN works on the calling thread alone.
inline void product(bool ta, bool tb, int64_t m, int64_t n, int64_t k, const float* a, int64_t lda, const float* b,
                    int64_t ldb, float beta, float* c, int64_t ldc) {
  if (dnnl_sgemm(ta ? 'T' : 'N', tb ? 'T' : 'N', m, n, k, 1.0f, a, lda, b, ldb, beta, c, ldc) != dnnl_success)
    __builtin_trap();
}
inline void product(bool ta, bool tb, int64_t m, int64_t n, int64_t k, const double* a, int64_t lda, const double* b,
                    int64_t ldb, double beta, double* c, int64_t ldc) {
  for (int64_t i = 0; i < m; ++i)
    for (int64_t j = 0; j < n; ++j) {
      double sum = beta == 0 ? 0 : beta * c[i * ldc + j];
      for (int64_t l = 0; l < k; ++l) sum += (ta ? a[l * lda + i] : a[i * lda + l]) * (tb ? b[j * ldb + l] : b[l * ldb + j]);
      c[i * ldc + j] = sum;
    }
}

/// Scratch memory of a task, taken once and handed out in at most `pieces` aligned pieces.
template <class A>
class Scratch {
 public:
  Scratch(int64_t elements, int64_t pieces)
      : memory_(static_cast<A*>(aligned_alloc(64, static_cast<size_t>((elements + pieces * 16) / 16 * 16) * sizeof(A)))) {
    if (memory_ == nullptr) __builtin_trap();
    next_ = memory_;
  }
  ~Scratch() { free(memory_); }
  A* take(int64_t elements) {
    A* piece = next_;
    next_ += (elements + 15) / 16 * 16;
    return piece;
  }

 private:
  A* memory_;
  A* next_;
};

/// Keys a task's queries may see: a prefix, or one replica's positions.
template <class A>
struct Keys {
  const A *k, *v;
  A *dk, *dv;
  int64_t count;
  bool positional;
};

template <class T>
struct Task {
  using A = acc<T>;
  const AttentionArgs& a;
  int64_t b, head;              // sequence, key/value head
  int64_t group, q_stride, kv_columns;
  A scale;

  Task(const AttentionArgs& args, int64_t sequence, int64_t kv_head) : a(args), b(sequence), head(kv_head) {
    group = a.heads / a.kv_heads;
    q_stride = a.streams * a.heads * a.head_dim;
    kv_columns = 2 * a.kv_heads * a.head_dim;
    scale = static_cast<A>(1 / __builtin_sqrt(static_cast<double>(a.head_dim)));
  }

  /// Offset in q, out, dq of position s, stream j, head g of the group.
  int64_t at(int64_t s, int64_t j, int64_t g) const {
    return (b * a.length + s) * q_stride + (j * a.heads + head * group + g) * a.head_dim;
  }
  /// Offset in kv of position s of replica jk.
  int64_t key_at(int64_t s, int64_t jk, bool value) const {
    const int64_t rank = jk / a.streams, j = jk % a.streams;
    return ((rank * a.tokens + b * a.length + s) * a.streams + j) * kv_columns +
           ((value ? a.kv_heads : 0) + head) * a.head_dim;
  }
  /// First position that position s sees.
  int64_t first_seen(int64_t s) const {
    int64_t first = a.starts != nullptr ? a.starts[b * a.length + s] : 0;
    if (a.window > 0) first = most(first, s - a.window + 1);
    return first;
  }

  void pack_keys(int64_t jk, A* k, A* v) const {
    const T* from = static_cast<const T*>(a.kv);
    for (int64_t s = 0; s < a.length; ++s) {
      const T *ks = from + key_at(s, jk, false), *vs = from + key_at(s, jk, true);
      for (int64_t d = 0; d < a.head_dim; ++d) {
        k[s * a.head_dim + d] = load(ks[d]);
        v[s * a.head_dim + d] = load(vs[d]);
      }
    }
  }
  void pack_prefix(int64_t j, A* k, A* v) const {
    const int64_t size = a.prefix * a.head_dim, from = (j * a.kv_heads + head) * size;
    for (int64_t i = 0; i < size; ++i) {
      k[i] = load(static_cast<const T*>(a.prefix_k)[from + i]);
      v[i] = load(static_cast<const T*>(a.prefix_v)[from + i]);
    }
  }
  /// Rows of positions [s0, s0 + count) and all heads of the group, times `factor`: row (s - s0) group + g.
  void pack_rows(const void* from, int64_t s0, int64_t count, int64_t j, A factor, A* to) const {
    for (int64_t s = 0; s < count; ++s)
      for (int64_t g = 0; g < group; ++g) {
        const T* row = static_cast<const T*>(from) + at(s0 + s, j, g);
        A* out = to + (s * group + g) * a.head_dim;
        for (int64_t d = 0; d < a.head_dim; ++d) out[d] = load(row[d]) * factor;
      }
  }
  /// The columns [from, to) of key block [k0, k1) that position s sees.
  void seen(const Keys<A>& keys, int64_t s, int64_t k0, int64_t k1, int64_t& from, int64_t& to) const {
    from = keys.positional ? least(most(first_seen(s), k0), k1) - k0 : 0;
    to = keys.positional ? least(s + 1, k1) - k0 : k1 - k0;
    if (to < from) to = from;
  }
  /// The key blocks that a query block [s0, s1) may see lie in [begin, end).
  void range(const Keys<A>& keys, int64_t s0, int64_t s1, int64_t& begin, int64_t& end) const {
    begin = 0;
    end = keys.positional ? s1 : keys.count;
    if (keys.positional && (a.starts != nullptr || a.window > 0)) {
      int64_t first = s0;
      for (int64_t s = s0; s < s1; ++s) first = least(first, first_seen(s));
      begin = first / kKeys * kKeys;
    }
  }

  void forward_block(const Keys<A>* sets, int64_t set_count, int64_t s0, int64_t j,
                     A* q, A* s, A* o, A* top, A* sum) const {
    const int64_t count = least(kQueries, a.length - s0), rows = count * group, d = a.head_dim;
    pack_rows(a.q, s0, count, j, scale, q);
    for (int64_t r = 0; r < rows; ++r) {
      top[r] = -static_cast<A>(__builtin_inf());
      sum[r] = 0;
    }
    __builtin_memset(o, 0, static_cast<size_t>(rows * d) * sizeof(A));
    for (int64_t set = 0; set < set_count; ++set) {
      const Keys<A>& keys = sets[set];
      int64_t begin, end;
      range(keys, s0, s0 + count, begin, end);
      for (int64_t k0 = begin; k0 < end; k0 += kKeys) {
        const int64_t k1 = least(k0 + kKeys, end), width = k1 - k0;
        product(false, true, rows, width, d, q, d, keys.k + k0 * d, d, 0, s, kKeys);
        for (int64_t r = 0; r < rows; ++r) {
          int64_t from, to;
          seen(keys, s0 + r / group, k0, k1, from, to);
          A* __restrict x = s + r * kKeys;
          const A highest = largest(x + from, to - from, top[r]);
          for (int64_t c = 0; c < from; ++c) x[c] = 0;
          A part = 0;
          for (int64_t c = from; c < to; ++c) {
            x[c] = exponential(x[c] - highest);
            part += x[c];
          }
          for (int64_t c = to; c < width; ++c) x[c] = 0;
          if (highest > top[r]) {
            const A shrink = sum[r] == 0 ? 0 : exponential(top[r] - highest);
            A* __restrict row = o + r * d;
            for (int64_t i = 0; i < d; ++i) row[i] *= shrink;
            sum[r] *= shrink;
            top[r] = highest;
          }
          sum[r] += part;
        }
        product(false, false, rows, d, width, s, kKeys, keys.v + k0 * d, d, 1, o, d);
      }
    }
    for (int64_t r = 0; r < rows; ++r) {
      const int64_t position = s0 + r / group, g = r % group;
      const A inverse = 1 / sum[r];
      T* __restrict out = static_cast<T*>(a.out) + at(position, j, g);
      for (int64_t i = 0; i < d; ++i) out[i] = store<T>(o[r * d + i] * inverse);
      static_cast<A*>(a.lse)[(j * a.heads + head * group + g) * a.batch * a.length + b * a.length + position] =
          top[r] + static_cast<A>(__builtin_log(static_cast<double>(sum[r])));
    }
  }

  void backward_block(const Keys<A>* sets, int64_t set_count, int64_t s0, int64_t j, A* q, A* dout, A* s, A* ds, A* dq,
                      A* delta) const {
    const int64_t count = least(kQueries, a.length - s0), rows = count * group, d = a.head_dim;
    pack_rows(a.q, s0, count, j, scale, q);
    pack_rows(a.dout, s0, count, j, 1, dout);
    for (int64_t r = 0; r < rows; ++r) {
      const T* out = static_cast<const T*>(a.out) + at(s0 + r / group, j, r % group);
      A dot = 0;
      for (int64_t i = 0; i < d; ++i) dot += load(out[i]) * dout[r * d + i];
      delta[r] = dot;
    }
    __builtin_memset(dq, 0, static_cast<size_t>(rows * d) * sizeof(A));
    for (int64_t set = 0; set < set_count; ++set) {
      const Keys<A>& keys = sets[set];
      int64_t begin, end;
      range(keys, s0, s0 + count, begin, end);
      for (int64_t k0 = begin; k0 < end; k0 += kKeys) {
        const int64_t k1 = least(k0 + kKeys, end), width = k1 - k0;
        product(false, true, rows, width, d, q, d, keys.k + k0 * d, d, 0, s, kKeys);
        product(false, true, rows, width, d, dout, d, keys.v + k0 * d, d, 0, ds, kKeys);
        for (int64_t r = 0; r < rows; ++r) {
          const int64_t position = s0 + r / group;
          int64_t from, to;
          seen(keys, position, k0, k1, from, to);
          const A log_sum = static_cast<const A*>(
              a.lse)[(j * a.heads + head * group + r % group) * a.batch * a.length + b * a.length + position];
          A* __restrict x = s + r * kKeys;
          A* __restrict dx = ds + r * kKeys;
          const A shift = delta[r];
          for (int64_t c = 0; c < from; ++c) x[c] = dx[c] = 0;
          for (int64_t c = from; c < to; ++c) {
            x[c] = exponential(x[c] - log_sum);
            dx[c] = x[c] * (dx[c] - shift);
          }
          for (int64_t c = to; c < width; ++c) x[c] = dx[c] = 0;
        }
        product(true, false, width, d, rows, s, kKeys, dout, d, 1, keys.dv + k0 * d, d);
        product(true, false, width, d, rows, ds, kKeys, q, d, 1, keys.dk + k0 * d, d);
        product(false, false, rows, d, width, ds, kKeys, keys.k + k0 * d, d, 1, dq, d);
      }
    }
    for (int64_t r = 0; r < rows; ++r) {
      T* __restrict to = static_cast<T*>(a.dq) + at(s0 + r / group, j, r % group);
      for (int64_t i = 0; i < d; ++i) to[i] = store<T>(dq[r * d + i] * scale);
    }
  }
};

/// Rows of padding behind the sequences: zero, so that nothing downstream sees what was in memory.
template <class T>
void clear_padding(void* rows, int64_t ranks, const AttentionArgs& a, int64_t columns) {
  const int64_t real = a.batch * a.length * a.streams * columns, all = a.tokens * a.streams * columns;
  for (int64_t r = 0; r < ranks; ++r)
    __builtin_memset(static_cast<T*>(rows) + r * all + real, 0, static_cast<size_t>(all - real) * sizeof(T));
}

template <class T>
void forward_typed(const AttentionArgs& a) {
  using A = acc<T>;
  const int64_t replicas = a.joint ? a.key_ranks * a.streams : 1, group = a.heads / a.kv_heads;
  constexpr int64_t key_size = sizeof(Keys<A>) / sizeof(A);
  const int64_t rows = kQueries * group, d = a.head_dim, tasks = a.batch * a.kv_heads * a.streams;
#pragma omp parallel for schedule(dynamic)
  for (int64_t index = 0; index < tasks; ++index) {
    const int64_t j = index % a.streams, head = index / a.streams % a.kv_heads, b = index / a.streams / a.kv_heads;
    const Task<T> task(a, b, head);
    Scratch<A> scratch(2 * d * (replicas * a.length + a.prefix) + 2 * rows * d + rows * kKeys + 2 * rows +
                           (replicas + 1) * key_size,
                       2 * replicas + 8);
    Keys<A>* sets = reinterpret_cast<Keys<A>*>(scratch.take((replicas + 1) * key_size));
    int64_t count = 0;
    if (a.prefix > 0) {
      A *k = scratch.take(a.prefix * d), *v = scratch.take(a.prefix * d);
      task.pack_prefix(j, k, v);
      sets[count++] = {k, v, nullptr, nullptr, a.prefix, false};
    }
    for (int64_t i = 0; i < replicas; ++i) {
      A *k = scratch.take(a.length * d), *v = scratch.take(a.length * d);
      task.pack_keys(a.joint ? i : j, k, v);
      sets[count++] = {k, v, nullptr, nullptr, a.length, true};
    }
    A *q = scratch.take(rows * d), *o = scratch.take(rows * d), *s = scratch.take(rows * kKeys);
    A *top = scratch.take(rows), *sum = scratch.take(rows);
    for (int64_t s0 = 0; s0 < a.length; s0 += kQueries) task.forward_block(sets, count, s0, j, q, s, o, top, sum);
  }
  clear_padding<T>(a.out, 1, a, a.heads * a.head_dim);
}

template <class T>
void backward_typed(const AttentionArgs& a) {
  using A = acc<T>;
  const int64_t replicas = a.joint ? a.key_ranks * a.streams : 1, group = a.heads / a.kv_heads;
  constexpr int64_t key_size = sizeof(Keys<A>) / sizeof(A);
  const int64_t rows = kQueries * group, d = a.head_dim;
  // With joint attention a key's gradient comes from all local streams, so a task has them all.
  const int64_t each = a.joint ? a.streams : 1, tasks = a.batch * a.kv_heads * (a.joint ? 1 : a.streams);
  const int64_t prefix_size = a.prefix * d, kv_columns = 2 * a.kv_heads * d;
  // The gradient of a prefix sums over the sequences, which are different tasks: a part for each, added in order.
  const int64_t prefix_all = a.streams * a.kv_heads * prefix_size;
  A* parts = nullptr;
  if (a.prefix > 0) {
    parts = static_cast<A*>(calloc(static_cast<size_t>(2 * a.batch * prefix_all + 1), sizeof(A)));
    if (parts == nullptr) __builtin_trap();
  }
#pragma omp parallel for schedule(dynamic)
  for (int64_t index = 0; index < tasks; ++index) {
    const int64_t first = a.joint ? 0 : index % a.streams, rest = a.joint ? index : index / a.streams;
    const int64_t head = rest % a.kv_heads, b = rest / a.kv_heads;
    const Task<T> task(a, b, head);
    Scratch<A> scratch(4 * d * replicas * a.length + 2 * d * a.prefix + 3 * rows * d + 2 * rows * kKeys + rows +
                           (replicas + 1) * key_size,
                       4 * replicas + 9);
    Keys<A>* sets = reinterpret_cast<Keys<A>*>(scratch.take((replicas + 1) * key_size));
    for (int64_t i = 0; i < replicas; ++i) {
      const int64_t size = a.length * d;
      A *k = scratch.take(size), *v = scratch.take(size), *dk = scratch.take(size), *dv = scratch.take(size);
      task.pack_keys(a.joint ? i : first, k, v);
      __builtin_memset(dk, 0, static_cast<size_t>(size) * sizeof(A));
      __builtin_memset(dv, 0, static_cast<size_t>(size) * sizeof(A));
      sets[i] = {k, v, dk, dv, a.length, true};
    }
    A *pk = scratch.take(prefix_size), *pv = scratch.take(prefix_size);
    A *q = scratch.take(rows * d), *dout = scratch.take(rows * d), *dq = scratch.take(rows * d);
    A *s = scratch.take(rows * kKeys), *ds = scratch.take(rows * kKeys), *delta = scratch.take(rows);
    for (int64_t j = first; j < first + each; ++j) {
      int64_t count = replicas;
      if (a.prefix > 0) {
        task.pack_prefix(j, pk, pv);
        A* part = parts + (b * a.streams * a.kv_heads + j * a.kv_heads + head) * 2 * prefix_size;
        sets[count++] = {pk, pv, part, part + prefix_size, a.prefix, false};
      }
      for (int64_t s0 = 0; s0 < a.length; s0 += kQueries)
        task.backward_block(sets, count, s0, j, q, dout, s, ds, dq, delta);
    }
    for (int64_t i = 0; i < replicas; ++i)
      for (int64_t p = 0; p < a.length; ++p) {
        T* dk = static_cast<T*>(a.dkv) + task.key_at(p, a.joint ? i : first, false);
        T* dv = static_cast<T*>(a.dkv) + task.key_at(p, a.joint ? i : first, true);
        for (int64_t c = 0; c < d; ++c) {
          dk[c] = store<T>(sets[i].dk[p * d + c]);
          dv[c] = store<T>(sets[i].dv[p * d + c]);
        }
      }
  }
  clear_padding<T>(a.dq, 1, a, a.heads * a.head_dim);
  clear_padding<T>(a.dkv, a.joint ? a.key_ranks : 1, a, kv_columns);
  if (a.dprefix_k != nullptr)
    for (int64_t i = 0; i < a.streams * a.kv_heads; ++i)
      for (int64_t c = 0; c < prefix_size; ++c) {
        A k = 0, v = 0;
        for (int64_t b = 0; b < a.batch; ++b) {
          const A* part = parts + (b * a.streams * a.kv_heads + i) * 2 * prefix_size;
          k += part[c];
          v += part[prefix_size + c];
        }
        static_cast<A*>(a.dprefix_k)[i * prefix_size + c] = k;
        static_cast<A*>(a.dprefix_v)[i * prefix_size + c] = v;
      }
  free(parts);
}

void forward(const AttentionArgs& args) {
  typed(args.type, [&]<class T>(T) { forward_typed<T>(args); });
}

void backward(const AttentionArgs& args) {
  typed(args.type, [&]<class T>(T) { backward_typed<T>(args); });
}

constexpr AttentionKernels table{forward, backward};

}  // namespace
}  // namespace pscale::cpu::PSCALE_ISA

PSCALE_CPU_KERNELS(AttentionKernels, table)
