// The kernels for one instruction set; compiled once for each, with LEMODE_ISA as its name.
#include "isa.h"

#include "rollout.h"
#include "sequence.h"

namespace LEMODE_ISA {
namespace {

template <class T>
size_t run_forward(const LemodeSequence &q, long begin, long end, char *memory) {
  Arena arena{memory, 0};
  if (q.scheme == LEMODE_IMEX)
    forward<LEMODE_IMEX, T>(arena, q, begin, end);
  else if (q.scheme == LEMODE_SEMI_IMPLICIT)
    forward<LEMODE_SEMI_IMPLICIT, T>(arena, q, begin, end);
  else
    forward<LEMODE_EXPONENTIAL, T>(arena, q, begin, end);
  return arena.used;
}

template <class T>
size_t run_backward(const LemodeSequence &q, long begin, long end, const LemodeWeightGradients &g, char *memory) {
  Arena arena{memory, 0};
  const WeightGradients<T> to{static_cast<T *>(g.ih), static_cast<T *>(g.hh), static_cast<T *>(g.zy), static_cast<T *>(g.bias)};
  if (q.scheme == LEMODE_IMEX)
    backward<LEMODE_IMEX, T>(arena, q, begin, end, to);
  else if (q.scheme == LEMODE_SEMI_IMPLICIT)
    backward<LEMODE_SEMI_IMPLICIT, T>(arena, q, begin, end, to);
  else
    backward<LEMODE_EXPONENTIAL, T>(arena, q, begin, end, to);
  return arena.used;
}

template <class T>
size_t run_rollout(const LemodeRollout &q, long begin, long end, char *memory) {
  Arena arena{memory, 0};
  rollout<T>(arena, q, begin, end);
  return arena.used;
}

template <class T, class F>
void map(const void *x, void *out, long n, const F &f) {
  for (long i = 0; i < n; i += Simd<T>::lanes) {
    const int lanes = int(min(n - i, Simd<T>::lanes));
    store(static_cast<T *>(out) + i, f(load(static_cast<const T *>(x) + i, lanes)), lanes);
  }
}

template <class T>
void map_tanh(const void *x, void *out, long n) {
  map<T>(x, out, n, [](Vec<T> v) { return tanh<T>(v); });
}

template <class T>
void map_sigmoid(const void *x, void *out, long n) {
  map<T>(x, out, n, [](Vec<T> v) { return sigmoid<T>(v); });
}

// n times a fused multiply-add of float vectors into each of ten registers, which hides the latency on every processor of today.
double multiply_adds(long n, double *sum) {
  constexpr int registers = 10;
  Vec<float> x[registers];
  const Vec<float> a = Vec<float>{} + 0.999f, b = Vec<float>{} + 1e-3f;
  for (int i = 0; i < registers; ++i) x[i] = Vec<float>{} + float(i);
  for (long k = 0; k < n; ++k)
    for (int i = 0; i < registers; ++i) x[i] = x[i] * a + b;
  for (int i = 0; i < registers; ++i)
    for (int j = 0; j < Simd<float>::lanes; ++j) *sum += double(x[i][j]);  // somebody must want every lane
  return 2.0 * double(n) * registers * Simd<float>::lanes;
}

}  // namespace
}  // namespace LEMODE_ISA

#define NAME_OF(isa) lemode_##isa
#define NAME(isa) NAME_OF(isa)

const LemodeKernels NAME(LEMODE_ISA) = {
    LEMODE_VECTOR_BYTES,
    {LEMODE_ISA::run_forward<float>, LEMODE_ISA::run_forward<double>},
    {LEMODE_ISA::run_backward<float>, LEMODE_ISA::run_backward<double>},
    {LEMODE_ISA::run_rollout<float>, LEMODE_ISA::run_rollout<double>},
    {LEMODE_ISA::map_tanh<float>, LEMODE_ISA::map_tanh<double>},
    {LEMODE_ISA::map_sigmoid<float>, LEMODE_ISA::map_sigmoid<double>},
    LEMODE_ISA::multiply_adds,
};
