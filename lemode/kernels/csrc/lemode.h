// C interface of the core: plain structs and functions, no Python and no PyTorch. Strides count elements.
//
// Shapes: u (L, N, m); y0, z0 (N, d); ys, zs (L, N, d); weight_ih (4d, m), weight_hh (3d, d), weight_zy (d, d),
// bias (4d,), rows of the blocks in the order 1, 2, z, y. Matrices are row-major and contiguous; where strides are given
// they are those of time and sample, and features are contiguous. Every pointer is to float or to double, as the function
// called says.
#pragma once
#include <stdint.h>

#ifdef _WIN32
#define LEMODE_API __declspec(dllexport)
#else
#define LEMODE_API __attribute__((visibility("default")))
#endif

#ifdef __cplusplus
extern "C" {
#endif

enum { LEMODE_IMEX = 0, LEMODE_SEMI_IMPLICIT = 1, LEMODE_EXPONENTIAL = 2 };

typedef struct {
  int64_t L, N, m, d;
  int32_t scheme, threads;
  const void *u;
  int64_t u_n, u_b;
  const void *y0, *z0;
  const void *dt;  // one step size for every (n, b); strides 0 broadcast
  int64_t dt_n, dt_b;
  const void *weight_ih, *weight_hh, *weight_zy, *bias;
  void *ys, *zs;  // written by forward, read by backward
  void *saved;    // gates and candidates, see lemode_vector_bytes; NULL: not kept (backward recomputes them)
  // backward only. Incoming gradients (NULL: zero), then outgoing ones (NULL: not wanted; the four weights together)
  const void *grad_ys, *grad_zs;
  int64_t gy_n, gy_b, gz_n, gz_b;
  void *grad_u;                                                               // (L, N, m)
  void *grad_y0, *grad_z0;                                                    // (N, d), always
  void *grad_dt;                                                              // (L, N)
  void *grad_weight_ih, *grad_weight_hh, *grad_weight_zy, *grad_bias;
} LemodeSequence;

typedef struct {
  int64_t m, d;
  int32_t scheme, reserved;
  double dt;
  const void *weight_ih, *weight_hh, *weight_zy, *bias;
  const void *y0, *z0;
} LemodeLayer;

typedef struct {
  int64_t steps, N, D, extra, delays;  // D features of x and of each of the values before it, `extra` exogenous ones
  int32_t layers, residual, threads, whole;
  const LemodeLayer *layer;
  const void *readout, *readout_bias;  // (D, d) or, `whole`, (D, D * (1 + delays) + extra + twice the sum of all d); (D,)
  const void *x0, *past;               // (N, D), (delays, N, D), the latest one last
  const void *exogenous;               // (steps, N, extra)
  void *xs;                            // (steps, N, D)
  const void *lower, *upper;           // (D,), between which x is held; NULL: it is not
} LemodeRollout;

// Each returns 0, or 1 if memory ran out.
LEMODE_API int lemode_forward_f32(const LemodeSequence *);
LEMODE_API int lemode_forward_f64(const LemodeSequence *);
LEMODE_API int lemode_backward_f32(const LemodeSequence *);
LEMODE_API int lemode_backward_f64(const LemodeSequence *);
LEMODE_API int lemode_rollout_f32(const LemodeRollout *);
LEMODE_API int lemode_rollout_f64(const LemodeRollout *);

// Bytes of a vector of the instruction set in use. `saved` has L * N * 4 * d elements, d rounded up to whole vectors.
LEMODE_API int64_t lemode_vector_bytes(void);

// tanh and the logistic function of n numbers, as the recursion uses them (for the tests).
LEMODE_API void lemode_tanh_f32(const float *x, float *out, int64_t n);
LEMODE_API void lemode_tanh_f64(const double *x, double *out, int64_t n);
LEMODE_API void lemode_sigmoid_f32(const float *x, float *out, int64_t n);
LEMODE_API void lemode_sigmoid_f64(const double *x, double *out, int64_t n);

// The greatest rate of the hardware: does n fused multiply-adds of float vectors in each of several registers, adds what they hold
// to *sum and returns the floating-point operations done (for the benchmarks).
LEMODE_API double lemode_multiply_adds(int64_t n, double *sum);

// The instruction set in use: "avx512", "avx2" or "baseline". The first call takes the best there is, or what the
// environment variable LEMODE_ISA names. lemode_select returns 0 if it took the one named, 1 if this machine lacks it.
LEMODE_API const char *lemode_isa(void);
LEMODE_API int lemode_select(const char *isa);
// Frees the working memory that is kept between calls, at most 64 MiB.
LEMODE_API void lemode_trim(void);
LEMODE_API int lemode_version(void);

#ifdef __cplusplus
}
#endif
