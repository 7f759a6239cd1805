// Small dense products with the outputs in registers. Hidden units lie in the lanes, samples are the rows of a block.
//
// Every matrix of states is "blocked": panels of V = lanes units, each panel `stride` rows of V numbers, so that element
// (row, unit) is at (unit / V) * stride * V + row * V + unit % V. Lanes beyond the last unit are zero and stay zero.
// Weights are packed [output panels in groups of R][input k][R][V]: one stream of contiguous loads.
#pragma once
#include "vec.h"

namespace LEMODE_ISA {

template <class T>
struct Blocked {
  T *data;
  long stride;  // rows a panel

  T *at(long panel, long row) const { return data + (panel * stride + row) * Simd<T>::lanes; }
  Blocked rows_from(long row) const { return {at(0, row), stride}; }
};

constexpr long panels(long units, long lanes) { return (units + lanes - 1) / lanes; }

// Rows a block: with R output panels, R * rows accumulators, R weights and one broadcast must fit the registers.
template <int R>
struct Rows {
#if LEMODE_REGISTERS >= 32
  static constexpr int max = 8;
#elif defined(__FMA__)
  static constexpr int max = R == 3 ? 4 : 6;
#else
  static constexpr int max = R == 3 ? 3 : 4;  // the product needs a register of its own
#endif
};

// Few rows have too few independent sums to hide the latency of an addition: split k.
template <int R, int B>
constexpr int splits() {
  return R * B >= 8 ? 1 : R * B >= 4 ? 2 : 4;
}

// acc[r][b] += sum_k w[k][r] * x[k][b]; w advances by wk and its panels by wr, x by xk and its rows by xb.
template <class T, int R, int B, int K>
INLINE void multiply(Vec<T> (&acc)[K][R][B], const T *w, long wk, long wr, const T *x, long xk, long xb, long count) {
  long k = 0;
  for (; k + K <= count; k += K) {
#pragma GCC unroll 4
    for (int j = 0; j < K; ++j) {
      Vec<T> weight[R];
#pragma GCC unroll 4
      for (int r = 0; r < R; ++r) weight[r] = load(w + r * wr);
#pragma GCC unroll 16
      for (int b = 0; b < B; ++b) {
        const T xb_ = x[b * xb];
#pragma GCC unroll 4
        for (int r = 0; r < R; ++r) acc[j][r][b] += weight[r] * xb_;
      }
      w += wk, x += xk;
    }
  }
  if constexpr (K > 1) {
    for (; k < count; ++k) {
#pragma GCC unroll 4
      for (int r = 0; r < R; ++r)
#pragma GCC unroll 4
        for (int b = 0; b < B; ++b) acc[0][r][b] += load(w + r * wr) * x[b * xb];
      w += wk, x += xk;
    }
  }
}

template <class T, int R, int B, int K>
INLINE void add_splits(Vec<T> (&acc)[K][R][B]) {
#pragma GCC unroll 4
  for (int j = 1; j < K; ++j)
#pragma GCC unroll 4
    for (int r = 0; r < R; ++r)
#pragma GCC unroll 16
      for (int b = 0; b < B; ++b) acc[0][r][b] += acc[j][r][b];
}

// One input of a product: `units` columns of a blocked matrix, from row 0.
template <class T>
struct Input {
  Blocked<T> x;
  long units;
};

// out[r][b] = bias[r] + sum over the inputs, for B rows; w holds the inputs' weights one after the other.
template <class T, int R, int B>
__attribute__((noinline)) void block(T *out, const T *bias, const T *w, const Input<T> *inputs, int count, long row) {
  constexpr int V = Simd<T>::lanes, K = splits<R, B>();
  Vec<T> acc[K][R][B] = {};
  if (bias)
#pragma GCC unroll 4
    for (int r = 0; r < R; ++r)
#pragma GCC unroll 16
      for (int b = 0; b < B; ++b) acc[0][r][b] = load(bias + r * V);
  for (const Input<T> *in = inputs; in < inputs + count; ++in)
    for (long p = 0, left = in->units; left > 0; ++p, left -= V) {
      const long n = left < V ? left : V;
      multiply<T, R, B, K>(acc, w, R * V, V, in->x.at(p, row), 1, V, n);
      w += n * R * V;
    }
  add_splits<T, R, B, K>(acc);
#pragma GCC unroll 4
  for (int r = 0; r < R; ++r)
#pragma GCC unroll 16
    for (int b = 0; b < B; ++b) store(out + (r * Rows<R>::max + b) * V, acc[0][r][b]);
}

template <class T, int R, int B>
struct Call {
  static void block_of(int rows, T *out, const T *bias, const T *w, const Input<T> *inputs, int count, long row) {
    if (rows == B)
      block<T, R, B>(out, bias, w, inputs, count, row);
    else if constexpr (B > 1)
      Call<T, R, B - 1>::block_of(rows, out, bias, w, inputs, count, row);
  }
};

// The product of one group of R output panels for rows 0..rows-1, in blocks of nearly equal height;
// `then(row, r, v)` takes what comes out, in registers.
template <class T, int R, class Then>
INLINE void product(const T *bias, const T *w, const Input<T> *inputs, int count, long rows, const Then &then) {
  constexpr int V = Simd<T>::lanes, most = Rows<R>::max;
  alignas(64) T out[R * most * V];
  const long blocks = (rows + most - 1) / most;
  for (long i = 0; i < blocks; ++i) {
    const long row = rows * i / blocks, height = rows * (i + 1) / blocks - row;
    Call<T, R, most>::block_of(int(height), out, bias, w, inputs, count, row);
    for (long b = 0; b < height; ++b) then(row + b, out + b * V);
  }
}

template <int R>
constexpr long group_stride(long lanes) {
  return Rows<R>::max * lanes;  // distance in `out` between the panels of one row
}

// The product of all output panels, two at a time: then(panel, row, value).
template <class T, class Then>
INLINE void product_all(const T *w, const T *bias, long units_out, const Input<T> *inputs, int count, long rows, const Then &then) {
  constexpr int V = Simd<T>::lanes;
  long k = 0;
  for (int i = 0; i < count; ++i) k += inputs[i].units;
  const long P = panels(units_out, V);
  long p = 0;
  for (; p + 2 <= P; p += 2)
    product<T, 2>(bias ? bias + p * V : nullptr, w + p * k * V, inputs, count, rows, [&](long row, const T *out) {
      then(p, row, load(out));
      then(p + 1, row, load(out + group_stride<2>(V)));
    });
  if (p < P)
    product<T, 1>(bias ? bias + p * V : nullptr, w + p * k * V, inputs, count, rows,
                  [&](long row, const T *out) { then(p, row, load(out)); });
}

// g[j][r] += sum over rows of a[r][row] * x[row][j], for B columns j of x: the gradient of packed weights.
template <class T, int R, int B>
__attribute__((noinline)) void outer(T *g, const T *a, long a_panel, const T *x, long rows) {
  constexpr int V = Simd<T>::lanes, K = splits<R, B>();
  Vec<T> acc[K][R][B] = {};
  multiply<T, R, B, K>(acc, a, V, a_panel, x, V, 1, rows);
  add_splits<T, R, B, K>(acc);
#pragma GCC unroll 16
  for (int b = 0; b < B; ++b)
#pragma GCC unroll 4
    for (int r = 0; r < R; ++r) {
      T *to = g + (b * R + r) * V;
      store(to, load(to) + acc[0][r][b]);
    }
}

template <class T, int R, int B>
struct Outer {
  static void of(int columns, T *g, const T *a, long a_panel, const T *x, long rows) {
    if (columns == B)
      outer<T, R, B>(g, a, a_panel, x, rows);
    else if constexpr (B > 1)
      Outer<T, R, B - 1>::of(columns, g, a, a_panel, x, rows);
  }
};

// Adds to the packed gradient g what `rows` rows give: R panels of a (a_panel apart) against every unit of the inputs.
template <class T, int R>
INLINE void gradient(T *g, const T *a, long a_panel, const Input<T> *inputs, int count, long rows) {
  constexpr int V = Simd<T>::lanes, most = Rows<R>::max < V ? Rows<R>::max : V;
  for (const Input<T> *in = inputs; in < inputs + count; ++in)
    for (long p = 0, left = in->units; left > 0; ++p, left -= V) {
      const int n = int(left < V ? left : V), blocks = (n + most - 1) / most;
      for (int i = 0; i < blocks; ++i) {
        const int j = n * i / blocks, width = n * (i + 1) / blocks - j;
        Outer<T, R, most>::of(width, g + j * R * V, a, a_panel, in->x.at(p, 0) + j, rows);
      }
      g += n * R * V;
    }
}

}  // namespace LEMODE_ISA
