// The free run: what is read from the layers is the next input of the first. Formula in ../free_run.py.
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
INLINE T &unit(Blocked<T> x, long j, long row) {
  constexpr int V = Simd<T>::lanes;
  return x.at(j / V, row)[j % V];
}

// Of values one after the other, D units each, in one row: every one takes the place of the older one behind it.
template <class T>
INLINE void grow_older(Blocked<T> x, long D, long count, long row) {
  for (long j = D * count - 1; j >= D; --j) unit(x, j, row) = unit(x, j - D, row);
}

template <class T>
void rollout(Arena &arena, const LemodeRollout &q, long begin, long end) {
  constexpr int V = Simd<T>::lanes;
  const long tile = min(tile_rows, end - begin), D = q.D, p = q.delays;
  // u = (x_k, x_{k-1}, ..., x_{k-p}, e_k) is what the first layer reads; what is read of it all needs pieces of its own
  const Blocked<T> u = arena.blocked<T>(D * (1 + p) + q.extra, tile), next = arena.blocked<T>(D, tile);
  const Blocked<T> differences = arena.blocked<T>(D * p, tile), known = arena.blocked<T>(q.extra, tile);
  RolloutLayer<T> *stack = arena.take<RolloutLayer<T>>(q.layers);
  Input<T> *inputs = arena.take<Input<T>>(3 + 2 * q.layers);
  Source<const T> *out_w = arena.take<Source<const T>>(3 + 2 * q.layers);
  // in place where only y is read; else x is read until the last panel of the product is there
  const Blocked<T> x_next = q.whole || p ? next : u;
  Blocked<T> input = u;
  long width = 0;  // of what is read, and in how many pieces
  int count = 0;
  const auto read = [&](Blocked<T> from, long units) {
    if (arena.base) inputs[count] = {from, units};
    ++count;
    width += units;
  };
  if (q.whole) read(u, D), read(differences, D * p), read(known, q.extra);
  for (int i = 0; i < q.layers; ++i) {
    const LemodeLayer &l = q.layer[i];
    const Layer<T> layer(arena, l.m, l.d, l.weight_ih, l.weight_hh, l.weight_zy, l.bias);
    const Blocked<T> y = arena.blocked<T>(l.d, tile), z = arena.blocked<T>(l.d, tile), leak2 = arena.blocked<T>(l.d, tile);
    T *dt = arena.take<T>(tile);
    if (arena.base) {
      for (long b = 0; b < tile; ++b) dt[b] = T(l.dt);
      stack[i] = {layer, {input, y, z, leak2, dt, {nullptr, 0}, {nullptr, 0}, {nullptr, 0}}};
    }
    if (q.whole || i == q.layers - 1) read(y, l.d);
    if (q.whole) read(z, l.d);
    input = y;
  }
  const Source<const T> out_b[] = {{static_cast<const T *>(q.readout_bias), 1, 0, 1}};
  const T *bias = pack<T, 2, false>(arena, D, out_b, 1);
  const Blocked<T> lower = arena.blocked<T>(D, 1), upper = arena.blocked<T>(D, 1);
  if (!arena.base) {  // the packed readout has `width` inputs, of whichever pieces
    const Source<const T> all[] = {{nullptr, width, 1, width}};
    pack<T, 2, false>(arena, D, all, 1);
    return;
  }
  const T *from = static_cast<const T *>(q.readout);
  for (int i = 0; i < count; from += inputs[i++].units) out_w[i] = {from, width, 1, inputs[i].units};
  const T *readout = pack<T, 2, false>(arena, D, out_w, count);

  for (long j = 0; j < (D + V - 1) / V * V; ++j) {  // lanes beyond D hold what is never kept
    unit(lower, j, 0) = q.lower && j < D ? static_cast<const T *>(q.lower)[j] : -std::numeric_limits<T>::infinity();
    unit(upper, j, 0) = q.upper && j < D ? static_cast<const T *>(q.upper)[j] : std::numeric_limits<T>::infinity();
  }
  for (long first = begin; first < end; first += tile) {
    const long rows = min(tile, end - first);
    const T *x0 = static_cast<const T *>(q.x0) + first * D;
    load_rows<T>(u, {x0, D}, D, rows);
    for (long i = 1; i <= p; ++i) {
      const T *before = static_cast<const T *>(q.past) + ((p - i) * q.N + first) * D, *after = i == 1 ? x0 : before + q.N * D;
      for (long b = 0; b < rows; ++b)
        for (long j = 0; j < D; ++j) {
          unit(u, i * D + j, b) = before[b * D + j];
          unit(differences, (i - 1) * D + j, b) = after[b * D + j] - before[b * D + j];
        }
    }
    for (int i = 0; i < q.layers; ++i) {
      load_rows<T>(stack[i].step.y, {static_cast<const T *>(q.layer[i].y0) + first * q.layer[i].d, q.layer[i].d}, q.layer[i].d, rows);
      load_rows<T>(stack[i].step.z, {static_cast<const T *>(q.layer[i].z0) + first * q.layer[i].d, q.layer[i].d}, q.layer[i].d, rows);
    }
    for (long n = 0; n < q.steps; ++n) {
      const T *e = static_cast<const T *>(q.exogenous) + (n * q.N + first) * q.extra;
      for (long b = 0; b < rows; ++b)
        for (long j = 0; j < q.extra; ++j) unit(u, D * (1 + p) + j, b) = unit(known, j, b) = e[b * q.extra + j];
      for (int i = 0; i < q.layers; ++i) run_step<T>(q.layer[i].scheme, stack[i].layer, stack[i].step, rows);
      T *xs = static_cast<T *>(q.xs) + (n * q.N + first) * D;
      product_all<T>(readout, bias, D, inputs, count, rows, [&](long panel, long b, Vec<T> head) {
        // of two numbers these take the second where one is no number: it stays to be seen
        const Vec<T> x = minimum(load(upper.at(panel, 0)),
                                 maximum(load(lower.at(panel, 0)), q.residual ? load(u.at(panel, b)) + head : head));
        store(x_next.at(panel, b), x);
        store(xs + b * D + panel * V, x, int(min(D - panel * V, V)));
      });
      for (long b = 0; b < rows && p; ++b) {
        grow_older(differences, D, p, b);
        for (long j = 0; j < D; ++j) unit(differences, j, b) = unit(next, j, b) - unit(u, j, b);
        grow_older(u, D, 1 + p, b);
        for (long j = 0; j < D; ++j) unit(u, j, b) = unit(next, j, b);
      }
      for (long panel = 0; panel < panels(D, V) && q.whole && !p; ++panel)  // lanes beyond D hold exogenous inputs, which are written anew
        for (long b = 0; b < rows; ++b) store(u.at(panel, b), load(next.at(panel, b)));
    }
  }
}

}  // namespace LEMODE_ISA
