// The recursion along a sequence and its adjoint; formulas in ../adjoint.py, whose names are used here.
#pragma once
#include "lemode.h"
#include "pack.h"

namespace LEMODE_ISA {

constexpr long tile_rows = 128;   // samples advanced together: their states stay in the cache for all n
constexpr long chunk_rows = 256;  // rows of one partial sum of the weights' gradients, for the cache and for accuracy

INLINE long min(long a, long b) { return a < b ? a : b; }
INLINE long max(long a, long b) { return a > b ? a : b; }

// Parameters of one layer, packed for the forward direction.
template <class T>
struct Layer {
  long m, d;
  T *gates, *gates_bias;          // a1, a2, az from (y, u)
  T *candidate, *candidate_bias;  // ay from (z, u)

  Layer(Arena &arena, long m, long d, const void *weight_ih, const void *weight_hh, const void *weight_zy, const void *bias)
      : m(m), d(d) {
    const T *ih = static_cast<const T *>(weight_ih), *b = static_cast<const T *>(bias);
    const Source<const T> gate[] = {{static_cast<const T *>(weight_hh), d, 1, d}, {ih, m, 1, m}};
    const Source<const T> cand[] = {{static_cast<const T *>(weight_zy), d, 1, d}, {ih + 3 * d * m, m, 1, m}};
    const Source<const T> gate_b[] = {{b, 1, 0, 1}}, cand_b[] = {{b + 3 * d, 1, 0, 1}};
    gates = pack<T, 3, true>(arena, d, gate, 2);
    gates_bias = pack<T, 3, true>(arena, d, gate_b, 1);
    candidate = pack<T, 2, false>(arena, d, cand, 2);
    candidate_bias = pack<T, 2, false>(arena, d, cand_b, 1);
  }
};

// Where the gates and candidates of some rows go: blocks 1, 2, z, y, interleaved panel by panel.
template <class T>
struct Saved {
  T *data;      // nullptr: nowhere
  long stride;  // rows a panel

  T *at(long panel, int gate, long row) const { return data + ((panel * 4 + gate) * stride + row) * Simd<T>::lanes; }
};

// Rows of a user's tensor: (row, unit) at data + row * step + unit. data == nullptr: nothing there.
template <class U>
struct UserRows {
  U *data;
  long step;
};

template <class T>
INLINE void load_rows(Blocked<T> to, UserRows<const T> from, long units, long rows) {
  constexpr int V = Simd<T>::lanes;
  for (long p = 0, left = units; left > 0; ++p, left -= V)
    for (long b = 0; b < rows; ++b) store(to.at(p, b), load(from.data + b * from.step + p * V, int(min(left, V))));
}

template <class T>
INLINE void store_rows(UserRows<T> to, Blocked<T> from, long units, long rows) {
  constexpr int V = Simd<T>::lanes;
  for (long p = 0, left = units; left > 0; ++p, left -= V)
    for (long b = 0; b < rows; ++b) store(to.data + b * to.step + p * V, load(from.at(p, b)), int(min(left, V)));
}

// What one step works on: `rows` samples of input u, state y and z, updated in place. `leak2` is scratch, as y.
template <class T>
struct Step {
  Blocked<T> u, y, z, leak2;
  const T *dt;  // (rows)
  Saved<T> saved;
  UserRows<T> ys, zs;
};

// z_n = z_{n-1} + l1 (tanh(Wz y_{n-1} + Vz u + bz) - z_{n-1}), then y_n with the new z. The scheme decides l only.
template <int scheme, class T>
void step(const Layer<T> &layer, const Step<T> &s, long rows) {
  constexpr int V = Simd<T>::lanes;
  const long d = layer.d, P = panels(d, V), k = d + layer.m;
  const Input<T> from_y[] = {{s.y, d}, {s.u, layer.m}}, from_z[] = {{s.z, d}, {s.u, layer.m}};
  // every panel needs the old z of its own units only, so z can be overwritten as we go
  for (long p = 0; p < P; ++p) {
    const int n = int(min(d - p * V, V));
    product<T, 3>(layer.gates_bias + p * 3 * V, layer.gates + p * 3 * V * k, from_y, 2, rows, [&](long b, const T *out) {
      const Vec<T> g1 = sigmoid<T>(load(out)), g2 = sigmoid<T>(load(out + group_stride<3>(V)));
      const Vec<T> zh = tanh<T>(load(out + 2 * group_stride<3>(V)));
      const Vec<T> z = relax<T>(load(s.z.at(p, b)), leak<scheme, T>(s.dt[b] * g1), zh);
      store(s.z.at(p, b), z);
      store(s.leak2.at(p, b), leak<scheme, T>(s.dt[b] * g2));
      if (s.saved.data) {
        store(s.saved.at(p, 0, b), g1);
        store(s.saved.at(p, 1, b), g2);
        store(s.saved.at(p, 2, b), zh);
      }
      if (s.zs.data) store(s.zs.data + b * s.zs.step + p * V, z, n);
    });
  }
  product_all<T>(layer.candidate, layer.candidate_bias, d, from_z, 2, rows, [&](long p, long b, Vec<T> a) {
    const Vec<T> yh = tanh<T>(a), y = relax<T>(load(s.y.at(p, b)), load(s.leak2.at(p, b)), yh);
    store(s.y.at(p, b), y);
    if (s.saved.data) store(s.saved.at(p, 3, b), yh);
    if (s.ys.data) store(s.ys.data + b * s.ys.step + p * V, y, int(min(d - p * V, V)));
  });
}

template <class T>
INLINE void load_dt(T *to, const LemodeSequence &q, long n, long first, long rows) {
  const T *from = static_cast<const T *>(q.dt) + n * q.dt_n + first * q.dt_b;
  for (long b = 0; b < rows; ++b) to[b] = from[b * q.dt_b];
}

template <class T>
INLINE UserRows<const T> input_rows(const LemodeSequence &q, long n, long first) {
  return {static_cast<const T *>(q.u) + n * q.u_n + first * q.u_b, q.u_b};
}

// Time runs backwards in the adjoint, which no hardware prefetcher expects: ask for the next step's data during this one.
template <class T>
INLINE void prefetch(const T *p) {
  __builtin_prefetch(p);
}

// Row `first` of the states at time n; n = -1 is the initial state.
template <class T>
INLINE UserRows<const T> state_rows(const LemodeSequence &q, const void *initial, const void *states, long n, long first) {
  const T *data = n < 0 ? static_cast<const T *>(initial) : static_cast<const T *>(states) + n * q.N * q.d;
  return {data + first * q.d, q.d};
}

template <class T>
INLINE Saved<T> saved_rows(const LemodeSequence &q, long n, long first) {
  if (!q.saved) return {nullptr, 0};
  const Saved<T> all{static_cast<T *>(q.saved) + n * panels(q.d, Simd<T>::lanes) * 4 * q.N * Simd<T>::lanes, q.N};
  return {all.at(0, 0, first), q.N};
}

template <int scheme, class T>
void forward(Arena &arena, const LemodeSequence &q, long begin, long end) {
  const long tile = min(tile_rows, end - begin);
  const Layer<T> layer(arena, q.m, q.d, q.weight_ih, q.weight_hh, q.weight_zy, q.bias);
  Step<T> s{arena.blocked<T>(q.m, tile), arena.blocked<T>(q.d, tile), arena.blocked<T>(q.d, tile), arena.blocked<T>(q.d, tile)};
  T *dt = arena.take<T>(tile);
  if (!arena.base) return;
  s.dt = dt;
  T *ys = static_cast<T *>(q.ys), *zs = static_cast<T *>(q.zs);
  for (long first = begin; first < end; first += tile) {
    const long rows = min(tile, end - first);
    load_rows<T>(s.y, state_rows<T>(q, q.y0, q.ys, -1, first), q.d, rows);
    load_rows<T>(s.z, state_rows<T>(q, q.z0, q.zs, -1, first), q.d, rows);
    for (long n = 0; n < q.L; ++n) {
      load_rows<T>(s.u, input_rows<T>(q, n, first), q.m, rows);
      if (n == 0 || q.dt_n) load_dt(dt, q, n, first, rows);
      s.saved = saved_rows<T>(q, n, first);
      s.ys = {ys + (n * q.N + first) * q.d, q.d};
      s.zs = {zs + (n * q.N + first) * q.d, q.d};
      step<scheme, T>(layer, s, rows);
    }
  }
}

// Where a thread leaves the gradients of the weights, in the user's order.
template <class T>
struct WeightGradients {
  T *ih, *hh, *zy, *bias;
};

template <int scheme, class T>
void backward(Arena &arena, const LemodeSequence &q, long begin, long end, const WeightGradients<T> &to) {
  constexpr int V = Simd<T>::lanes;
  const long L = q.L, N = q.N, m = q.m, d = q.d, P = panels(d, V);
  const long tile = min(tile_rows, end - begin), steps = min(L, max(1, chunk_rows / tile)), most = steps * tile;
  const T *ih = static_cast<const T *>(q.weight_ih), *hh = static_cast<const T *>(q.weight_hh);
  const bool weights = to.ih, recompute = !q.saved;

  // Transposed weights: Wy^T onto z; W1^T, W2^T, Wz^T onto y; V^T onto u.
  const Source<const T> on_z[] = {{static_cast<const T *>(q.weight_zy), 1, d, d}};
  const Source<const T> on_y[] = {{hh, 1, d, d}, {hh + d * d, 1, d, d}, {hh + 2 * d * d, 1, d, d}};
  const Source<const T> on_u[] = {{ih, 1, m, d}, {ih + d * m, 1, m, d}, {ih + 2 * d * m, 1, m, d}, {ih + 3 * d * m, 1, m, d}};
  const T *to_z = pack<T, 2, false>(arena, d, on_z, 1), *to_y = pack<T, 2, false>(arena, d, on_y, 3);
  const T *to_u = q.grad_u ? pack<T, 2, false>(arena, m, on_u, 4) : nullptr;

  // The gradients of the packed weights.
  const long size_gates = P * 3 * V * (d + m), size_cand = P * V * (d + m);
  T *g_gates = weights ? arena.take<T>(size_gates) : nullptr, *g_cand = weights ? arena.take<T>(size_cand) : nullptr;
  T *g_bias = weights ? arena.take<T>(P * 4 * V) : nullptr;

  // One chunk: `steps` times of `rows` samples each, row = time in the chunk * rows + sample.
  const Blocked<T> y_old = arena.blocked<T>(d, most), z_all = arena.blocked<T>(d, most + tile), u = arena.blocked<T>(m, most);
  const long a_stride = most % 16 == 0 ? most + 8 : most;
  T *a_data = arena.take<T>(4 * P * a_stride * V);
  const Blocked<T> a[4] = {{a_data, a_stride},
                           {a_data + P * a_stride * V, a_stride},
                           {a_data + 2 * P * a_stride * V, a_stride},
                           {a_data + 3 * P * a_stride * V, a_stride}};
  const Blocked<T> dy = arena.blocked<T>(d, tile), dz = arena.blocked<T>(d, tile);
  T *dt = arena.take<T>(most), *span = q.grad_dt ? arena.take<T>(tile * V) : nullptr;
  // Only if gates are recomputed: a whole chunk is one step of independent rows.
  const Saved<T> again{recompute ? arena.take<T>(P * 4 * most * V) : nullptr, most};
  const Blocked<T> none{nullptr, 0};
  const Blocked<T> y_new = recompute ? arena.blocked<T>(d, most) : none, z_new = recompute ? arena.blocked<T>(d, most) : none;
  const Blocked<T> leak2 = recompute ? arena.blocked<T>(d, most) : none;
  Arena nothing{nullptr, 0};
  const Layer<T> layer(recompute ? arena : nothing, m, d, q.weight_ih, q.weight_hh, q.weight_zy, q.bias);
  if (!arena.base) return;

  if (weights) {
    memset(g_gates, 0, size_t(size_gates) * sizeof(T));
    memset(g_cand, 0, size_t(size_cand) * sizeof(T));
    memset(g_bias, 0, size_t(P * 4 * V) * sizeof(T));
  }
  for (long first = begin; first < end; first += tile) {
    const long rows = min(tile, end - first);
    for (long p = 0; p < P; ++p) {
      memset(dy.at(p, 0), 0, size_t(rows * V) * sizeof(T));
      memset(dz.at(p, 0), 0, size_t(rows * V) * sizeof(T));
    }
    for (long n1 = L; n1 > 0;) {
      const long n0 = max(0, n1 - steps), total = (n1 - n0) * rows;
      load_rows<T>(z_all, state_rows<T>(q, q.z0, q.zs, n0 - 1, first), d, rows);  // z_{n-1} at row r, z_n at row r + rows
      for (long n = n0; n < n1; ++n) {
        const long r = (n - n0) * rows;
        load_rows<T>(y_old.rows_from(r), state_rows<T>(q, q.y0, q.ys, n - 1, first), d, rows);
        load_rows<T>(z_all.rows_from(r + rows), state_rows<T>(q, q.z0, q.zs, n, first), d, rows);
        load_rows<T>(u.rows_from(r), input_rows<T>(q, n, first), m, rows);
        load_dt(dt + r, q, n, first, rows);
      }
      if (recompute) {
        for (long p = 0; p < P; ++p) {
          memcpy(y_new.at(p, 0), y_old.at(p, 0), size_t(total * V) * sizeof(T));
          memcpy(z_new.at(p, 0), z_all.at(p, 0), size_t(total * V) * sizeof(T));
        }
        step<scheme, T>(layer, {u, y_new, z_new, leak2, dt, again, {nullptr, 0}, {nullptr, 0}}, total);
      }
      for (long n = n1 - 1; n >= n0; --n) {
        const long r = (n - n0) * rows;
        const Saved<T> now = recompute ? Saved<T>{again.at(0, 0, r), most} : saved_rows<T>(q, n, first);
        const T *step_dt = dt + r;
        const T *gy = q.grad_ys ? static_cast<const T *>(q.grad_ys) + n * q.gy_n + first * q.gy_b : nullptr;
        const T *gz = q.grad_zs ? static_cast<const T *>(q.grad_zs) + n * q.gz_n + first * q.gz_b : nullptr;
        const Saved<T> next = recompute || n == 0 ? now : saved_rows<T>(q, n - 1, first);
        const T *next_gy = n ? gy - q.gy_n : gy, *next_gz = n ? gz - q.gz_n : gz;
        if (span) memset(span, 0, size_t(rows * V) * sizeof(T));
        for (long p = 0; p < P; ++p) {
          const int lanes = int(min(d - p * V, V));
          for (long b = 0; b < rows; ++b) {
            prefetch(next.at(p, 1, b)), prefetch(next.at(p, 3, b));
            Vec<T> g = load(dy.at(p, b));
            if (gy) prefetch(next_gy + b * q.gy_b + p * V);
            if (gy) g += load(gy + b * q.gy_b + p * V, lanes);
            const Vec<T> g2 = load(now.at(p, 1, b)), yh = load(now.at(p, 3, b)), x = step_dt[b] * g2;
            const Vec<T> l2 = leak<scheme, T>(x), slope = leak_slope<scheme, T>(x);
            const Vec<T> by_dt = g * (yh - load(y_old.at(p, r + b))) * slope * g2;
            store(a[3].at(p, r + b), g * l2 * (T(1) - yh * yh));
            store(a[1].at(p, r + b), step_dt[b] * by_dt * (T(1) - g2));
            store(dy.at(p, b), g * (T(1) - l2));
            if (span) store(span + b * V, load(span + b * V) + by_dt);
          }
        }
        const Input<T> ay[] = {{a[3].rows_from(r), d}};
        product_all<T>(to_z, nullptr, d, ay, 1, rows, [&](long p, long b, Vec<T> through) {
          prefetch(next.at(p, 0, b)), prefetch(next.at(p, 2, b));
          Vec<T> g = load(dz.at(p, b)) + through;
          if (gz) prefetch(next_gz + b * q.gz_b + p * V);
          if (gz) g += load(gz + b * q.gz_b + p * V, int(min(d - p * V, V)));
          const Vec<T> g1 = load(now.at(p, 0, b)), zh = load(now.at(p, 2, b)), x = step_dt[b] * g1;
          const Vec<T> l1 = leak<scheme, T>(x), slope = leak_slope<scheme, T>(x);
          const Vec<T> by_dt = g * (zh - load(z_all.at(p, r + b))) * slope * g1;
          store(a[2].at(p, r + b), g * l1 * (T(1) - zh * zh));
          store(a[0].at(p, r + b), step_dt[b] * by_dt * (T(1) - g1));
          store(dz.at(p, b), g * (T(1) - l1));
          if (span) store(span + b * V, load(span + b * V) + by_dt);
        });
        const Input<T> a12z[] = {{a[0].rows_from(r), d}, {a[1].rows_from(r), d}, {a[2].rows_from(r), d}};
        product_all<T>(to_y, nullptr, d, a12z, 3, rows,
                       [&](long p, long b, Vec<T> through) { store(dy.at(p, b), load(dy.at(p, b)) + through); });
        if (span)
          for (long b = 0; b < rows; ++b) {
            T sum = 0;
            for (int i = 0; i < V; ++i) sum += span[b * V + i];
            static_cast<T *>(q.grad_dt)[n * N + first + b] = sum;
          }
      }
      if (weights) {
        const Input<T> y_u[] = {{y_old, d}, {u, m}}, z_u[] = {{z_all.rows_from(rows), d}, {u, m}};
        for (long p = 0; p < P; ++p) gradient<T, 3>(g_gates + p * 3 * V * (d + m), a[0].at(p, 0), P * a_stride * V, y_u, 2, total);
        long p = 0;
        for (; p + 2 <= P; p += 2) gradient<T, 2>(g_cand + p * V * (d + m), a[3].at(p, 0), a_stride * V, z_u, 2, total);
        if (p < P) gradient<T, 1>(g_cand + p * V * (d + m), a[3].at(p, 0), 0, z_u, 2, total);
        for (int g = 0; g < 4; ++g)
          for (p = 0; p < P; ++p) {
            Vec<T> sum{};
            for (long r = 0; r < total; ++r) sum += load(a[g].at(p, r));
            T *at = g_bias + (g * P + p) * V;
            store(at, load(at) + sum);
          }
      }
      if (to_u) {
        const Input<T> all[] = {{a[0], d}, {a[1], d}, {a[2], d}, {a[3], d}};
        T *out = static_cast<T *>(q.grad_u);
        product_all<T>(to_u, nullptr, m, all, 4, total, [&](long p, long r, Vec<T> v) {
          store(out + ((n0 + r / rows) * N + first + r % rows) * m + p * V, v, int(min(m - p * V, V)));
        });
      }
      n1 = n0;
    }
    store_rows<T>({static_cast<T *>(q.grad_y0) + first * d, d}, dy, d, rows);
    store_rows<T>({static_cast<T *>(q.grad_z0) + first * d, d}, dz, d, rows);
  }
  if (weights) {
    const auto unpack = [](const T &from, T &out) { out = from; };
    const Source<T> gates[] = {{to.hh, d, 1, d}, {to.ih, m, 1, m}}, cand[] = {{to.zy, d, 1, d}, {to.ih + 3 * d * m, m, 1, m}};
    walk<3, true>(g_gates, d, gates, 2, unpack);
    walk<2, false>(g_cand, d, cand, 2, unpack);
    for (int g = 0; g < 4; ++g)
      for (long i = 0; i < d; ++i) to.bias[g * d + i] = g_bias[(g * P + i / V) * V + i % V];
  }
}

}  // namespace LEMODE_ISA
