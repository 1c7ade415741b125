// A streaming kernel: every token reads and writes its own rows only.
#include "core/ops/cross_replica.h"

#include "core/cpu/simd/typed.h"

namespace pscale::cpu::PSCALE_ISA {
namespace {

template <class T>
struct Rows {
  const CrossReplicaArgs& a;
  int64_t group, kv_columns;
  explicit Rows(const CrossReplicaArgs& args)
      : a(args), group(args.heads / args.kv_heads), kv_columns(2 * args.kv_heads * args.head_dim) {}
  int64_t query(int64_t t, int64_t j, int64_t h) const { return ((t * a.streams + j) * a.heads + h) * a.head_dim; }
  int64_t key(int64_t t, int64_t jk, int64_t h) const {
    return ((jk / a.streams * a.tokens + t) * a.streams + jk % a.streams) * kv_columns + h / group * a.head_dim;
  }
  int64_t value(int64_t t, int64_t jk, int64_t h) const { return key(t, jk, h) + a.kv_heads * a.head_dim; }
};

template <class T>
inline acc<T> dot(const T* __restrict x, const T* __restrict y, int64_t count) {
  acc<T> sum = 0;
  for (int64_t i = 0; i < count; ++i) sum += load(x[i]) * load(y[i]);
  return sum;
}

/// Probabilities of the keys at token t for stream j, head h.
template <class T>
inline void probabilities(const Rows<T>& rows, int64_t t, int64_t j, int64_t h, int64_t replicas, acc<T> scale, acc<T>* p) {
  const CrossReplicaArgs& a = rows.a;
  const T *q = static_cast<const T*>(a.q) + rows.query(t, j, h), *kv = static_cast<const T*>(a.kv);
  acc<T> most = -static_cast<acc<T>>(__builtin_inf()), sum = 0;
  for (int64_t k = 0; k < replicas; ++k) {
    p[k] = dot(q, kv + rows.key(t, k, h), a.head_dim) * scale;
    most = p[k] > most ? p[k] : most;
  }
  for (int64_t k = 0; k < replicas; ++k) {
    p[k] = exponential(p[k] - most);
    sum += p[k];
  }
  for (int64_t k = 0; k < replicas; ++k) p[k] /= sum;
}

template <class T>
void forward_typed(const CrossReplicaArgs& a) {
  using A = acc<T>;
  const Rows<T> rows(a);
  const int64_t replicas = a.key_ranks * a.streams, d = a.head_dim;
  const A scale = static_cast<A>(1 / __builtin_sqrt(static_cast<double>(d)));
#pragma omp parallel
  {
    A* p = new A[static_cast<size_t>(replicas)];
    A* sum = new A[static_cast<size_t>(d)];
#pragma omp for schedule(static)
    for (int64_t t = 0; t < a.tokens; ++t)
      for (int64_t j = 0; j < a.streams; ++j)
        for (int64_t h = 0; h < a.heads; ++h) {
          probabilities(rows, t, j, h, replicas, scale, p);
          for (int64_t i = 0; i < d; ++i) sum[i] = 0;
          for (int64_t k = 0; k < replicas; ++k) {
            const T* __restrict v = static_cast<const T*>(a.kv) + rows.value(t, k, h);
            const A share = p[k];
            for (int64_t i = 0; i < d; ++i) sum[i] += share * load(v[i]);
          }
          T* __restrict out = static_cast<T*>(a.out) + rows.query(t, j, h);
          for (int64_t i = 0; i < d; ++i) out[i] = store<T>(sum[i]);
        }
    delete[] p;
    delete[] sum;
  }
}

template <class T>
void backward_typed(const CrossReplicaArgs& a) {
  using A = acc<T>;
  const Rows<T> rows(a);
  const int64_t replicas = a.key_ranks * a.streams, d = a.head_dim, columns = rows.kv_columns;
  const A scale = static_cast<A>(1 / __builtin_sqrt(static_cast<double>(d)));
#pragma omp parallel
  {
    A* sums = new A[static_cast<size_t>(replicas * columns)];  // of the token's keys and values
    A* p = new A[static_cast<size_t>(replicas)];
    A* ds = new A[static_cast<size_t>(replicas)];
    A* dq = new A[static_cast<size_t>(d)];
#pragma omp for schedule(static)
    for (int64_t t = 0; t < a.tokens; ++t) {
      for (int64_t i = 0; i < replicas * columns; ++i) sums[i] = 0;
      for (int64_t j = 0; j < a.streams; ++j)
        for (int64_t h = 0; h < a.heads; ++h) {
          const T* __restrict q = static_cast<const T*>(a.q) + rows.query(t, j, h);
          const T* __restrict dout = static_cast<const T*>(a.dout) + rows.query(t, j, h);
          const T* kv = static_cast<const T*>(a.kv);
          probabilities(rows, t, j, h, replicas, scale, p);
          A mean = 0;
          for (int64_t k = 0; k < replicas; ++k) {
            ds[k] = dot(dout, kv + rows.value(t, k, h), d);
            mean += p[k] * ds[k];
          }
          for (int64_t i = 0; i < d; ++i) dq[i] = 0;
          const int64_t head = h / rows.group * d;
          for (int64_t k = 0; k < replicas; ++k) {
            const A slope = p[k] * (ds[k] - mean) * scale, share = p[k];
            const T* __restrict key = kv + rows.key(t, k, h);
            A* __restrict dk = sums + k * columns + head;
            A* __restrict dv = dk + a.kv_heads * d;
            for (int64_t i = 0; i < d; ++i) {
              dq[i] += slope * load(key[i]);
              dk[i] += slope * load(q[i]);
              dv[i] += share * load(dout[i]);
            }
          }
          T* __restrict out = static_cast<T*>(a.dq) + rows.query(t, j, h);
          for (int64_t i = 0; i < d; ++i) out[i] = store<T>(dq[i]);
        }
      for (int64_t k = 0; k < replicas; ++k) {
        T* __restrict out = static_cast<T*>(a.dkv) + rows.key(t, k, 0);
        for (int64_t i = 0; i < columns; ++i) out[i] = store<T>(sums[k * columns + i]);
      }
    }
    delete[] sums;
    delete[] p;
    delete[] ds;
    delete[] dq;
  }
}

void forward(const CrossReplicaArgs& args) {
  typed(args.type, [&]<class T>(T) { forward_typed<T>(args); });
}

void backward(const CrossReplicaArgs& args) {
  typed(args.type, [&]<class T>(T) { backward_typed<T>(args); });
}

constexpr CrossReplicaKernels table{forward, backward};

}  // namespace
}  // namespace pscale::cpu::PSCALE_ISA

PSCALE_CPU_KERNELS(CrossReplicaKernels, table)
