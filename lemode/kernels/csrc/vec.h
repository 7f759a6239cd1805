// Vectors of LEMODE_VECTOR_BYTES in the compiler's own vector extension, and the functions of a gate on them.
// Nothing here may come from a C++ library header: an inline function instantiated under -mavx512f could be the copy
// that the linker keeps for every instruction set.
#pragma once
#include <stdint.h>
#include <string.h>
#ifdef __AVX2__
#include <immintrin.h>
#endif

#define INLINE static inline __attribute__((always_inline))

namespace LEMODE_ISA {

template <class T>
struct Simd;

template <>
struct Simd<float> {
  typedef float V __attribute__((vector_size(LEMODE_VECTOR_BYTES)));
  typedef uint32_t U __attribute__((vector_size(LEMODE_VECTOR_BYTES)));
  static constexpr int lanes = LEMODE_VECTOR_BYTES / 4, mantissa = 23;
  static constexpr uint32_t bias = 127, sign = 0x80000000u;
  static constexpr float magic = 12582912.0f;  // 1.5 * 2^23: adding it rounds to an integer, kept in the low bits
  static constexpr float ln2_hi = 0.693115234375f, ln2_lo = 3.19461849453094172e-5f;  // k * ln2_hi is exact
  static constexpr float exp_range = 87.0f, tanh_range = 10.0f;
  // minimax for (expm1(r) - r) / r^2 on |r| <= 0.35; error of expm1 below 1.5e-8
  static constexpr int degree = 4;
  static constexpr float q[] = {0.500000006549f, 0.166665380363f, 0.0416662676164f, 0.00836724261042f, 0.00139475174475f};
};

template <>
struct Simd<double> {
  typedef double V __attribute__((vector_size(LEMODE_VECTOR_BYTES)));
  typedef uint64_t U __attribute__((vector_size(LEMODE_VECTOR_BYTES)));
  static constexpr int lanes = LEMODE_VECTOR_BYTES / 8, mantissa = 52;
  static constexpr uint64_t bias = 1023, sign = 0x8000000000000000ull;
  static constexpr double magic = 6755399441055744.0;  // 1.5 * 2^52
  static constexpr double ln2_hi = 0.69314718055829871445894241333, ln2_lo = 1.6465949582897081280984430755e-12;
  static constexpr double exp_range = 708.0, tanh_range = 20.0;
  // error of expm1 below 2.1e-17
  static constexpr int degree = 9;
  static constexpr double q[] = {
      0.50000000000000061875,    0.16666666666666684444,    0.041666666666565559239,  0.008333333333315365599,
      0.0013888888935122487239,  0.00019841269901771841083, 2.4801501032694161787e-5, 2.7557228750830681928e-6,
      2.7627724830795940844e-7,  2.5114312986385839992e-8};
};

template <class T>
using Vec = typename Simd<T>::V;

template <class T>
INLINE Vec<T> load(const T *p) {
  Vec<T> v;
  memcpy(&v, p, sizeof v);
  return v;
}

template <class T>
INLINE void store(T *p, Vec<T> v) {
  memcpy(p, &v, sizeof v);
}

// The first n lanes, 1 <= n <= lanes: rows of a user's tensor end where they end.
template <class T>
INLINE Vec<T> load(const T *p, int n) {
  if (n >= Simd<T>::lanes) return load(p);
  Vec<T> v{};
  for (int i = 0; i < n; ++i) v[i] = p[i];
  return v;
}

template <class T>
INLINE void store(T *p, Vec<T> v, int n) {
  if (n >= Simd<T>::lanes) return store(p, v);
  for (int i = 0; i < n; ++i) p[i] = v[i];
}

#if defined(__AVX512F__)
INLINE Vec<float> load(const float *p, int n) { return _mm512_maskz_loadu_ps(__mmask16((1u << n) - 1), p); }
INLINE Vec<double> load(const double *p, int n) { return _mm512_maskz_loadu_pd(__mmask8((1u << n) - 1), p); }
INLINE void store(float *p, Vec<float> v, int n) { _mm512_mask_storeu_ps(p, __mmask16((1u << n) - 1), v); }
INLINE void store(double *p, Vec<double> v, int n) { _mm512_mask_storeu_pd(p, __mmask8((1u << n) - 1), v); }
#endif

template <class T>
INLINE Vec<T> broadcast(T x) {
  return x - Vec<T>{};  // not x + 0: keeps -0
}

// exp(x) = s + s * p with s = 2^k, k the integer nearest to x / ln 2, and p = expm1(x - k ln 2). |x| <= exp_range.
template <class T>
INLINE void exp_parts(Vec<T> x, Vec<T> &s, Vec<T> &p) {
  using S = Simd<T>;
  const Vec<T> t = x * T(1.44269504088896340736) + S::magic, k = t - S::magic;
  const Vec<T> r = (x - k * S::ln2_hi) - k * S::ln2_lo;
  Vec<T> q = broadcast(T(S::q[S::degree]));
#pragma GCC unroll 16
  for (int i = S::degree - 1; i >= 0; --i) q = q * r + T(S::q[i]);
  p = r + (r * r) * q;
  typename S::U bits;
  memcpy(&bits, &t, sizeof t);
  bits = (bits << S::mantissa) + (S::bias << S::mantissa);
  memcpy(&s, &bits, sizeof s);
}

// Both clamps let NaN through: where the comparison fails they return x, and so do the x86 instructions, their second operand.
#if defined(__AVX512F__)
INLINE __m512 minimum(__m512 a, __m512 b) { return _mm512_min_ps(a, b); }
INLINE __m512 maximum(__m512 a, __m512 b) { return _mm512_max_ps(a, b); }
INLINE __m512d minimum(__m512d a, __m512d b) { return _mm512_min_pd(a, b); }
INLINE __m512d maximum(__m512d a, __m512d b) { return _mm512_max_pd(a, b); }
#elif defined(__AVX2__)
INLINE __m256 minimum(__m256 a, __m256 b) { return _mm256_min_ps(a, b); }
INLINE __m256 maximum(__m256 a, __m256 b) { return _mm256_max_ps(a, b); }
INLINE __m256d minimum(__m256d a, __m256d b) { return _mm256_min_pd(a, b); }
INLINE __m256d maximum(__m256d a, __m256d b) { return _mm256_max_pd(a, b); }
#else
template <class V>
INLINE V minimum(V a, V b) { return a < b ? a : b; }
template <class V>
INLINE V maximum(V a, V b) { return a > b ? a : b; }
#endif

template <class T>
INLINE Vec<T> at_most(Vec<T> x, T limit) {
  return minimum(broadcast(limit), x);
}

template <class T>
INLINE Vec<T> at_least(Vec<T> x, T limit) {
  return maximum(broadcast(limit), x);
}

// 1 / (1 + exp(-x)): in [0, 1] exactly, and relatively accurate in the left tail too, as gates are rates.
template <class T>
INLINE Vec<T> sigmoid(Vec<T> x) {
  Vec<T> s, p;
  exp_parts<T>(-at_most<T>(at_least<T>(x, -Simd<T>::exp_range), Simd<T>::exp_range), s, p);
  return T(1) / (T(1) + (s + s * p));
}

// tanh|x| = e / (e + 2) with e = expm1(2|x|) >= 0: relatively accurate near 0, and at most 1 as rounding is monotone.
template <class T>
INLINE Vec<T> tanh(Vec<T> x) {
  typename Simd<T>::U bits;
  memcpy(&bits, &x, sizeof x);
  const typename Simd<T>::U sign = bits & Simd<T>::sign;
  bits ^= sign;
  Vec<T> a, s, p;
  memcpy(&a, &bits, sizeof a);
  exp_parts<T>(T(2) * at_most<T>(a, Simd<T>::tanh_range), s, p);
  const Vec<T> e = s * p + (s - T(1));
  const Vec<T> t = e / (e + T(2));
  memcpy(&bits, &t, sizeof t);
  bits |= sign;
  memcpy(&a, &bits, sizeof a);
  return a;
}

// The leak phi(x), x = dt * g >= 0, of each scheme, and its derivative.
template <int scheme, class T>
INLINE Vec<T> leak(Vec<T> x) {
  if constexpr (scheme == 0) return x;
  if constexpr (scheme == 1) return x / (T(1) + x);
  Vec<T> s, p;
  exp_parts<T>(-at_most<T>(x, Simd<T>::exp_range), s, p);
  return (T(1) - s) - s * p;
}

template <int scheme, class T>
INLINE Vec<T> leak_slope(Vec<T> x) {
  if constexpr (scheme == 0) return broadcast(T(1));
  if constexpr (scheme == 1) {
    const Vec<T> r = T(1) / (T(1) + x);
    return r * r;
  }
  Vec<T> s, p;
  exp_parts<T>(-at_most<T>(x, Simd<T>::exp_range), s, p);
  return s + s * p;
}

// state + l * (target - state): |.| <= 1 exactly when the state and the target are in [-1, 1] and l in [0, 1], with or
// without a fused multiply-add. For target >= state: fl(target - state) <= fl(1 - state) = 1 - state + e, |e| <= ulp(1)/4
// (2^-24 for float), so the exact sum is at most 1 + 2^-24, halfway between 1 and its successor: it rounds to even, 1.
// And l * (...) <= (...) after rounding, as rounding is monotone. The other side is its mirror image.
template <class T>
INLINE Vec<T> relax(Vec<T> state, Vec<T> l, Vec<T> target) {
  return state + l * (target - state);
}

}  // namespace LEMODE_ISA
