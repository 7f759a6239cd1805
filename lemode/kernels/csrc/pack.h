// The user's row-major parameters to the packed form of gemm.h, and packed gradients back.
#pragma once
#include <stddef.h>

#include "gemm.h"

namespace LEMODE_ISA {

// Memory of one call, handed out in order. Without a base it only counts.
struct Arena {
  char *base;
  size_t used;

  template <class T>
  T *take(long n) {
    const size_t at = used;
    used = (used + size_t(n) * sizeof(T) + 63) & ~size_t(63);
    return base ? reinterpret_cast<T *>(base + at) : nullptr;
  }

  template <class T>
  Blocked<T> blocked(long units, long rows) {
    // panels a multiple of 4 KB apart would share few cache sets
    const long stride = rows >= 16 && rows % 16 == 0 ? rows + 8 : rows;
    return {take<T>(panels(units, Simd<T>::lanes) * stride * Simd<T>::lanes), stride};
  }
};

// Weights from `inputs` numbers k to output units: element (unit, k) is at data + unit * unit_step + k * k_step.
template <class U>
struct Source {
  U *data;
  long unit_step, k_step, inputs;
};

template <class U>
long total_inputs(const Source<U> *sources, int count) {
  long k = 0;
  for (int s = 0; s < count; ++s) k += sources[s].inputs;
  return k;
}

// The one place that knows the packed order: visit(packed element, the user's element) for every weight.
// A group of R output panels is R neighbours or, with `stacked`, one panel of each of R stacked blocks of rows.
template <int R, bool stacked, class W, class U, class Visit>
INLINE void walk(W *w, long units, const Source<U> *sources, int count, const Visit &visit) {
  constexpr int V = Simd<W>::lanes;
  const long P = panels(units, V);
  for (long p = 0; p < P; p += stacked ? 1 : R) {
    const int group = stacked || P - p >= R ? R : int(P - p);
    for (int s = 0; s < count; ++s)
      for (long k = 0; k < sources[s].inputs; ++k)
        for (int r = 0; r < group; ++r, w += V) {
          const long first = (stacked ? p : p + r) * V, n = units - first < V ? units - first : V;
          U *from = sources[s].data + k * sources[s].k_step + ((stacked ? r * units : 0) + first) * sources[s].unit_step;
          for (long i = 0; i < n; ++i) visit(w[i], from[i * sources[s].unit_step]);
        }
  }
}

template <class T, int R, bool stacked>
T *pack(Arena &arena, long units, const Source<const T> *sources, int count) {
  const long P = panels(units, Simd<T>::lanes), n = P * (stacked ? R : 1) * Simd<T>::lanes * total_inputs(sources, count);
  T *w = arena.take<T>(n);
  if (w) {
    memset(w, 0, size_t(n) * sizeof(T));
    walk<R, stacked>(w, units, sources, count, [](T &to, const T &from) { to = from; });
  }
  return w;
}

}  // namespace LEMODE_ISA
