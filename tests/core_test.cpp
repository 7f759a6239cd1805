// The core's own test, for the sanitizers: every entry point at awkward sizes, with buffers of exactly the size that the
// interface asks for, so that one element too many is found. Forward with and without saved gates must agree with a
// transcription of the equations, and the gradients with finite differences of it. Built with -DLEMODE_SANITIZE=ON.
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <vector>

#include "lemode.h"

namespace {

struct Random {
  unsigned long long state = 88172645463325252ull;
  double operator()() {  // xorshift, uniform in (-1, 1)
    state ^= state << 13, state ^= state >> 7, state ^= state << 17;
    return double(state >> 11) / 4503599627370496.0 - 1.0;
  }
} uniform;

// Exactly n numbers on the heap: the address sanitizer guards both ends.
template <class T>
std::unique_ptr<T[]> numbers(long n, double scale = 1) {
  std::unique_ptr<T[]> p(new T[size_t(n)]);
  for (long i = 0; i < n; ++i) p[size_t(i)] = T(scale * uniform());
  return p;
}

int failures = 0;
void expect(bool ok, const char *what, const char *isa, long L, long N, long m, long d) {
  if (ok) return;
  ++failures;
  std::printf("FAILED %s: %s at L=%ld N=%ld m=%ld d=%ld\n", isa, what, L, N, m, d);
}

double sigmoid(double x) { return 1 / (1 + std::exp(-x)); }

double leak(int scheme, double x) { return scheme == 0 ? x : scheme == 1 ? x / (1 + x) : -std::expm1(-x); }

// sum over n of weight . (y_n, z_n), for one problem, from the equations.
template <class T>
double loss(const LemodeSequence &q, const T *wy, const T *wz) {
  const long L = q.L, N = q.N, m = q.m, d = q.d;
  const T *u = (const T *)q.u, *ih = (const T *)q.weight_ih, *hh = (const T *)q.weight_hh, *zy = (const T *)q.weight_zy;
  const T *bias = (const T *)q.bias, *dt = (const T *)q.dt;
  std::vector<double> y(size_t(N * d)), z(size_t(N * d)), next(size_t(4 * d));
  for (long i = 0; i < N * d; ++i) y[size_t(i)] = ((const T *)q.y0)[i], z[size_t(i)] = ((const T *)q.z0)[i];
  double total = 0;
  for (long n = 0; n < L; ++n)
    for (long b = 0; b < N; ++b) {
      double *yb = &y[size_t(b * d)], *zb = &z[size_t(b * d)];
      const double h = dt[n * q.dt_n + b * q.dt_b];
      const auto affine = [&](long row, const T *w, const double *x) {
        double a = bias[row];
        for (long j = 0; j < m; ++j) a += double(ih[row * m + j]) * u[n * q.u_n + b * q.u_b + j];
        for (long j = 0; j < d; ++j) a += double(w[j]) * x[j];
        return a;
      };
      for (long r = 0; r < 3 * d; ++r) next[size_t(r)] = affine(r, hh + r * d, yb);
      for (long i = 0; i < d; ++i)
        zb[i] += leak(q.scheme, h * sigmoid(next[size_t(i)])) * (std::tanh(next[size_t(2 * d + i)]) - zb[i]);
      for (long i = 0; i < d; ++i) next[size_t(3 * d + i)] = affine(3 * d + i, zy + i * d, zb);
      for (long i = 0; i < d; ++i)
        yb[i] += leak(q.scheme, h * sigmoid(next[size_t(d + i)])) * (std::tanh(next[size_t(3 * d + i)]) - yb[i]);
      for (long i = 0; i < d; ++i) total += wy[(n * N + b) * d + i] * yb[i] + wz[(n * N + b) * d + i] * zb[i];
    }
  return total;
}

template <class T>
struct Functions;
template <>
struct Functions<float> {
  static constexpr auto forward = lemode_forward_f32, backward = lemode_backward_f32;
  static constexpr auto rollout = lemode_rollout_f32;
};
template <>
struct Functions<double> {
  static constexpr auto forward = lemode_forward_f64, backward = lemode_backward_f64;
  static constexpr auto rollout = lemode_rollout_f64;
};

template <class T>
void sequence(long L, long N, long m, long d, int scheme, int threads, bool save, bool every_gradient) {
  const char *isa = lemode_isa();
  const long lanes = long(lemode_vector_bytes() / int64_t(sizeof(T)));
  const auto u = numbers<T>(L * N * m), y0 = numbers<T>(N * d), z0 = numbers<T>(N * d), dt = numbers<T>(L * N);
  const auto ih = numbers<T>(4 * d * m), hh = numbers<T>(3 * d * d), zy = numbers<T>(d * d), bias = numbers<T>(4 * d);
  for (long i = 0; i < L * N; ++i) dt[size_t(i)] = T(0.5 + 0.4 * dt[size_t(i)]);
  const auto ys = numbers<T>(L * N * d), zs = numbers<T>(L * N * d);
  const auto saved = numbers<T>(L * N * 4 * ((d + lanes - 1) / lanes * lanes));
  const auto wy = numbers<T>(L * N * d), wz = numbers<T>(L * N * d);
  const auto g_u = numbers<T>(L * N * m), g_y0 = numbers<T>(N * d), g_z0 = numbers<T>(N * d), g_dt = numbers<T>(L * N);
  const auto g_ih = numbers<T>(4 * d * m), g_hh = numbers<T>(3 * d * d), g_zy = numbers<T>(d * d), g_bias = numbers<T>(4 * d);

  LemodeSequence q;
  std::memset(&q, 0, sizeof q);
  q.L = L, q.N = N, q.m = m, q.d = d, q.scheme = scheme, q.threads = threads;
  q.u = u.get(), q.u_n = N * m, q.u_b = m, q.y0 = y0.get(), q.z0 = z0.get(), q.dt = dt.get(), q.dt_n = N, q.dt_b = 1;
  q.weight_ih = ih.get(), q.weight_hh = hh.get(), q.weight_zy = zy.get(), q.bias = bias.get();
  q.ys = ys.get(), q.zs = zs.get(), q.saved = save ? saved.get() : nullptr;
  q.grad_ys = wy.get(), q.grad_zs = wz.get(), q.gy_n = q.gz_n = N * d, q.gy_b = q.gz_b = d;
  q.grad_y0 = g_y0.get(), q.grad_z0 = g_z0.get();
  q.grad_weight_ih = g_ih.get(), q.grad_weight_hh = g_hh.get(), q.grad_weight_zy = g_zy.get(), q.grad_bias = g_bias.get();
  if (every_gradient) q.grad_u = g_u.get(), q.grad_dt = g_dt.get();
  expect(Functions<T>::forward(&q) == 0, "forward", isa, L, N, m, d);
  expect(Functions<T>::backward(&q) == 0, "backward", isa, L, N, m, d);

  const double tolerance = sizeof(T) == 8 ? 1e-11 : 2e-4;
  double total = 0;
  for (long i = 0; i < L * N * d; ++i) total += double(wy[size_t(i)]) * ys[size_t(i)] + double(wz[size_t(i)]) * zs[size_t(i)];
  expect(std::fabs(total - loss(q, wy.get(), wz.get())) < tolerance * double(1 + L * N * d), "states", isa, L, N, m, d);
  if (sizeof(T) < 8 || N == 0 || L * N * d * (d + m) > 2000) return;  // differences need the digits, and are slow
  const auto agrees = [&](T *x, const T *gradient, long n, const char *what) {
    for (long i = 0; i < n; i += 1 + n / 4) {
      const T keep = x[i], step = T(1e-6);
      x[i] = keep + step;
      const double up = loss(q, wy.get(), wz.get());
      x[i] = keep - step;
      const double down = loss(q, wy.get(), wz.get());
      x[i] = keep;
      expect(std::fabs((up - down) / (2 * step) - gradient[i]) < 1e-6 * (1 + std::fabs(gradient[i])), what, isa, L, N, m, d);
    }
  };
  agrees(ih.get(), g_ih.get(), 4 * d * m, "gradient of weight_ih");
  agrees(hh.get(), g_hh.get(), 3 * d * d, "gradient of weight_hh");
  agrees(zy.get(), g_zy.get(), d * d, "gradient of weight_zy");
  agrees(bias.get(), g_bias.get(), 4 * d, "gradient of bias");
  agrees(y0.get(), g_y0.get(), N * d, "gradient of y0");
  agrees(z0.get(), g_z0.get(), N * d, "gradient of z0");
  if (!every_gradient) return;
  agrees(u.get(), g_u.get(), L * N * m, "gradient of u");
  agrees(dt.get(), g_dt.get(), L * N, "gradient of dt");
}

template <class T>
void rollout(long steps, long N, long D, long extra, long d, int layers, int threads, int residual, long delays = 0, int whole = 0) {
  std::vector<std::unique_ptr<T[]>> kept;
  const auto fresh = [&](long n) {
    kept.push_back(numbers<T>(n, 0.5));
    return kept.back().get();
  };
  std::vector<LemodeLayer> stack{size_t(layers)};
  for (int i = 0; i < layers; ++i) {
    const long m = i ? d : D * (1 + delays) + extra;
    stack[size_t(i)] = {m, d, i % 3, 0, 0.5, fresh(4 * d * m), fresh(3 * d * d), fresh(d * d), fresh(4 * d), fresh(N * d), fresh(N * d)};
  }
  T *xs = fresh(steps * N * D);
  const long width = whole ? D * (1 + delays) + extra + 2 * layers * d : d;
  LemodeRollout q;
  std::memset(&q, 0, sizeof q);
  q.steps = steps, q.N = N, q.D = D, q.extra = extra, q.delays = delays;
  q.layers = layers, q.residual = residual, q.threads = threads, q.whole = whole, q.layer = stack.data();
  q.readout = fresh(D * width), q.readout_bias = fresh(D), q.x0 = fresh(N * D), q.past = fresh(delays * N * D);
  q.exogenous = fresh(steps * N * extra), q.xs = xs;
  expect(Functions<T>::rollout(&q) == 0, "rollout", lemode_isa(), steps, N, D, d);
  for (long i = 0; i < steps * N * D; ++i) expect(std::isfinite(xs[i]), "finite rollout", lemode_isa(), steps, N, D, d);
}

template <class T>
void everything() {
  const long sizes[][4] = {{1, 1, 1, 1}, {3, 2, 2, 3}, {2, 5, 3, 17}, {4, 9, 17, 33}, {2, 300, 1, 5}, {300, 3, 1, 8}, {3, 0, 2, 4}, {2, 7, 1, 16}};
  for (const auto &s : sizes)
    for (int scheme = 0; scheme < 3; ++scheme)
      for (int threads : {1, 3}) {
        sequence<T>(s[0], s[1], s[2], s[3], scheme, threads, true, true);
        sequence<T>(s[0], s[1], s[2], s[3], scheme, threads, false, false);
      }
  for (int residual : {0, 1}) {
    rollout<T>(5, 1, 1, 0, 1, 1, 1, residual);
    rollout<T>(4, 9, 17, 2, 33, 3, 1, residual);
    rollout<T>(3, 150, 2, 0, 5, 2, 3, residual);
    rollout<T>(0, 2, 3, 1, 4, 1, 1, residual);
    rollout<T>(5, 1, 1, 0, 1, 1, 1, residual, 0, 1);
    rollout<T>(4, 9, 17, 2, 33, 3, 1, residual, 2, 1);
    rollout<T>(3, 150, 2, 1, 5, 2, 3, residual, 3, 0);
    rollout<T>(3, 150, 3, 0, 5, 2, 3, residual, 1, 1);
  }
}

}  // namespace

int main() {
  for (const char *isa : {"baseline", "avx2", "avx512"}) {
    if (lemode_select(isa)) {
      std::printf("%s: not on this machine\n", isa);
      continue;
    }
    everything<float>();
    everything<double>();
    for (long n : {1, 3, 16, 37}) {
      const auto f = numbers<float>(n, 20), fo = numbers<float>(n);
      const auto g = numbers<double>(n, 20), go = numbers<double>(n);
      lemode_tanh_f32(f.get(), fo.get(), n), lemode_sigmoid_f32(f.get(), fo.get(), n);
      lemode_tanh_f64(g.get(), go.get(), n), lemode_sigmoid_f64(g.get(), go.get(), n);
      for (long i = 0; i < n; ++i) expect(std::fabs(go[size_t(i)] - sigmoid(g[size_t(i)])) < 1e-15, "sigmoid", isa, n, 0, 0, 0);
    }
    std::printf("%s: done\n", isa);
  }
  std::printf(failures ? "%d failures\n" : "all well\n", failures);
  return failures != 0;
}
