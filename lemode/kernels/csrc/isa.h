// What one instruction set offers to dispatch.cpp.
#pragma once
#include <stddef.h>

#include "lemode.h"

struct LemodeWeightGradients {
  void *ih, *hh, *zy, *bias;  // nullptr: not wanted
};

// Each works on samples begin..end-1 in `memory`, and returns the bytes that it needs; with memory == nullptr it does
// nothing else.
struct LemodeKernels {
  int vector_bytes;
  size_t (*forward[2])(const LemodeSequence &, long begin, long end, char *memory);
  size_t (*backward[2])(const LemodeSequence &, long begin, long end, const LemodeWeightGradients &, char *memory);
  size_t (*rollout[2])(const LemodeRollout &, long begin, long end, char *memory);
  void (*tanh[2])(const void *x, void *out, long n);
  void (*sigmoid[2])(const void *x, void *out, long n);
  double (*multiply_adds)(long n, double *sum);
};

extern const LemodeKernels lemode_baseline;
#ifdef LEMODE_X86
extern const LemodeKernels lemode_avx2, lemode_avx512;
#endif
