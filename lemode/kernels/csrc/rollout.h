// The free run: the readout of the last layer is the next input of the first. Formula in ../free_run.py.
#pragma once
#include <limits>

#include "sequence.h"

namespace LEMODE_ISA {

template <class T>
INLINE void run_step(int scheme, const Layer<T> &layer, const Step<T> &s, long rows) {
  if (scheme == LEMODE_IMEX) return step<LEMODE_IMEX, T>(layer, s, rows);
  if (scheme == LEMODE_SEMI_IMPLICIT) return step<LEMODE_SEMI_IMPLICIT, T>(layer, s, rows);
  step<LEMODE_EXPONENTIAL, T>(layer, s, rows);
}

template <class T>
struct RolloutLayer {
  Layer<T> layer;
  Step<T> step;
};

template <class T>
void rollout(Arena &arena, const LemodeRollout &q, long begin, long end) {
  constexpr int V = Simd<T>::lanes;
  const long tile = min(tile_rows, end - begin), D = q.D;
  const Blocked<T> x = arena.blocked<T>(D + q.extra, tile);
  RolloutLayer<T> *stack = arena.take<RolloutLayer<T>>(q.layers);
  Blocked<T> input = x;
  for (int i = 0; i < q.layers; ++i) {
    const LemodeLayer &l = q.layer[i];
    const Layer<T> layer(arena, l.m, l.d, l.weight_ih, l.weight_hh, l.weight_zy, l.bias);
    const Blocked<T> y = arena.blocked<T>(l.d, tile), z = arena.blocked<T>(l.d, tile), leak2 = arena.blocked<T>(l.d, tile);
    T *dt = arena.take<T>(tile);
    if (arena.base) {
      for (long b = 0; b < tile; ++b) dt[b] = T(l.dt);
      stack[i] = {layer, {input, y, z, leak2, dt, {nullptr, 0}, {nullptr, 0}, {nullptr, 0}}};
    }
    input = y;
  }
  const long d = q.layer[q.layers - 1].d;
  const Source<const T> out_w[] = {{static_cast<const T *>(q.readout), d, 1, d}};
  const Source<const T> out_b[] = {{static_cast<const T *>(q.readout_bias), 1, 0, 1}};
  const T *readout = pack<T, 2, false>(arena, D, out_w, 1), *bias = pack<T, 2, false>(arena, D, out_b, 1);
  const Blocked<T> lower = arena.blocked<T>(D, 1), upper = arena.blocked<T>(D, 1);
  if (!arena.base) return;

  for (long j = 0; j < (D + V - 1) / V * V; ++j) {  // lanes beyond D hold what is never kept
    lower.at(j / V, 0)[j % V] = q.lower && j < D ? static_cast<const T *>(q.lower)[j] : -std::numeric_limits<T>::infinity();
    upper.at(j / V, 0)[j % V] = q.upper && j < D ? static_cast<const T *>(q.upper)[j] : std::numeric_limits<T>::infinity();
  }
  for (long first = begin; first < end; first += tile) {
    const long rows = min(tile, end - first);
    load_rows<T>(x, {static_cast<const T *>(q.x0) + first * D, D}, D, rows);
    for (int i = 0; i < q.layers; ++i) {
      load_rows<T>(stack[i].step.y, {static_cast<const T *>(q.layer[i].y0) + first * q.layer[i].d, q.layer[i].d}, q.layer[i].d, rows);
      load_rows<T>(stack[i].step.z, {static_cast<const T *>(q.layer[i].z0) + first * q.layer[i].d, q.layer[i].d}, q.layer[i].d, rows);
    }
    for (long n = 0; n < q.steps; ++n) {
      const T *e = static_cast<const T *>(q.exogenous) + (n * q.N + first) * q.extra;
      for (long b = 0; b < rows; ++b)
        for (long j = 0; j < q.extra; ++j) x.at((D + j) / V, b)[(D + j) % V] = e[b * q.extra + j];
      for (int i = 0; i < q.layers; ++i) run_step<T>(q.layer[i].scheme, stack[i].layer, stack[i].step, rows);
      const Input<T> y[] = {{stack[q.layers - 1].step.y, d}};
      T *xs = static_cast<T *>(q.xs) + (n * q.N + first) * D;
      product_all<T>(readout, bias, D, y, 1, rows, [&](long p, long b, Vec<T> head) {
        // lanes beyond D hold exogenous inputs, which the next step writes anew
        // of two numbers these take the second where one is no number: it stays to be seen
        const Vec<T> next = minimum(load(upper.at(p, 0)), maximum(load(lower.at(p, 0)), q.residual ? load(x.at(p, b)) + head : head));
        store(x.at(p, b), next);
        store(xs + b * D + p * V, next, int(min(D - p * V, V)));
      });
    }
  }
}

}  // namespace LEMODE_ISA
