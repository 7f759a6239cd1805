// The C interface: picks the instruction set, splits the batch over threads, keeps working memory between calls.
#ifndef _WIN32
#include <pthread.h>
#endif
#include <stdlib.h>
#include <string.h>

#include <algorithm>
#include <atomic>
#include <mutex>
#include <thread>
#include <vector>

#include "isa.h"

namespace {

struct Isa {
  const char *name;
  const LemodeKernels *kernels;
  bool (*available)();
};

const Isa isas[] = {
#ifdef LEMODE_X86
    {"avx512", &lemode_avx512,
     [] {
       return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") &&
              __builtin_cpu_supports("avx512bw");
     }},
    {"avx2", &lemode_avx2, [] { return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"); }},
#endif
    {"baseline", &lemode_baseline, [] { return true; }},
};

const Isa *find(const char *name) {
  for (const Isa &isa : isas)
    if ((!name || !strcmp(name, isa.name)) && isa.available()) return &isa;
  return nullptr;
}

std::atomic<const Isa *> chosen{nullptr};

const Isa &current() {
  const Isa *isa = chosen.load();
  if (!isa) {
    isa = find(getenv("LEMODE_ISA"));  // an unknown name: the best there is
    if (!isa) isa = find(nullptr);
    chosen.store(isa);
  }
  return *isa;
}

// Working memory of past calls, kept because fresh pages cost more than the arithmetic on them.
struct Memory {
  char *data;
  size_t size;
};
struct Pool {
  std::mutex lock;
  std::vector<Memory> idle;
  Pool() {
#ifndef _WIN32  // a child must not inherit the lock as another thread of its parent held it
    pthread_atfork([] { pool_lock().lock(); }, [] { pool_lock().unlock(); }, [] { pool_lock().unlock(); });
#endif
  }
  ~Pool() { trim(0); }
  static std::mutex &pool_lock();
  // Keeps the most recent blocks, at most `bytes` of them.
  void trim(size_t bytes) {
    size_t sum = 0;
    auto keep = idle.end();
    while (keep != idle.begin() && sum + (keep - 1)->size <= bytes) sum += (--keep)->size;
    for (auto m = idle.begin(); m != keep; ++m) free(m->data);
    idle.erase(idle.begin(), keep);
  }
} pool;
std::mutex &Pool::pool_lock() { return pool.lock; }
constexpr size_t pool_bytes = size_t(64) << 20;

Memory acquire(size_t size) {
  {
    const std::lock_guard<std::mutex> hold(pool.lock);
    for (size_t i = 0; i < pool.idle.size(); ++i)
      if (pool.idle[i].size >= size) {
        const Memory found = pool.idle[i];
        pool.idle.erase(pool.idle.begin() + long(i));
        return found;
      }
  }
  size = (size + 4095) & ~size_t(4095);
  return {static_cast<char *>(aligned_alloc(4096, size)), size};
}

void release(Memory m) {
  if (!m.data) return;
  const std::lock_guard<std::mutex> hold(pool.lock);
  pool.idle.push_back(m);
  pool.trim(pool_bytes);
}

// task(part, begin, end, memory) on `parts` ranges of 0..n-1, each in its own thread; it returns the memory it needs.
template <class Task>
int split(long n, long parts, const Task &task) {
  parts = std::max(1L, std::min(parts, n));
  std::atomic<int> failed{0};
  const auto work = [&](long part) {
    const long begin = n * part / parts, end = n * (part + 1) / parts;
    const Memory memory = acquire(task(part, begin, end, static_cast<char *>(nullptr)) + 1);
    if (memory.data)
      task(part, begin, end, memory.data);
    else
      failed = 1;
    release(memory);
  };
  std::vector<std::thread> threads;
  for (long part = 1; part < parts; ++part) {
    try {
      threads.emplace_back(work, part);
    } catch (...) {  // no more threads: do it here
      work(part);
    }
  }
  work(0);
  for (std::thread &t : threads) t.join();
  return failed;
}

template <class T>
int forward(const LemodeSequence &q, int type) {
  if (q.N == 0) return 0;
  const auto run = current().kernels->forward[type];
  return split(q.N, q.threads, [&](long, long begin, long end, char *memory) { return run(q, begin, end, memory); });
}

template <class T>
int backward(const LemodeSequence &q, int type) {
  const auto run = current().kernels->backward[type];
  const size_t sizes[] = {size_t(4 * q.d * q.m), size_t(3 * q.d * q.d), size_t(q.d * q.d), size_t(4 * q.d)};
  T *const out[] = {static_cast<T *>(q.grad_weight_ih), static_cast<T *>(q.grad_weight_hh), static_cast<T *>(q.grad_weight_zy),
                    static_cast<T *>(q.grad_bias)};
  const size_t total = sizes[0] + sizes[1] + sizes[2] + sizes[3];
  if (q.N == 0) {
    if (out[0])
      for (int i = 0; i < 4; ++i) memset(out[i], 0, sizes[i] * sizeof(T));
    return 0;
  }
  const long parts = std::max(1L, std::min<long>(q.threads, q.N));
  // one thread writes the result, the others their own share, added in order: the sum does not depend on timing
  const Memory shares = out[0] && parts > 1 ? acquire(size_t(parts - 1) * total * sizeof(T)) : Memory{nullptr, 0};
  if (out[0] && parts > 1 && !shares.data) return 1;
  T *const share = reinterpret_cast<T *>(shares.data);
  const int failed = split(q.N, parts, [&](long part, long begin, long end, char *memory) {
    LemodeWeightGradients g{nullptr, nullptr, nullptr, nullptr};
    if (out[0] && part == 0) g = {out[0], out[1], out[2], out[3]};
    if (out[0] && part > 0) {
      T *at = share + size_t(part - 1) * total;
      g = {at, at + sizes[0], at + sizes[0] + sizes[1], at + sizes[0] + sizes[1] + sizes[2]};
    }
    return run(q, begin, end, g, memory);
  });
  if (share && !failed)
    for (long part = 1; part < parts; ++part) {
      const T *from = share + size_t(part - 1) * total;
      for (int i = 0; i < 4; from += sizes[i], ++i)
        for (size_t j = 0; j < sizes[i]; ++j) out[i][j] += from[j];
    }
  release(shares);
  return failed;
}

int rollout(const LemodeRollout &q, int type) {
  if (q.N == 0) return 0;
  const auto run = current().kernels->rollout[type];
  return split(q.N, q.threads, [&](long, long begin, long end, char *memory) { return run(q, begin, end, memory); });
}

}  // namespace

extern "C" {

int lemode_forward_f32(const LemodeSequence *q) { return forward<float>(*q, 0); }
int lemode_forward_f64(const LemodeSequence *q) { return forward<double>(*q, 1); }
int lemode_backward_f32(const LemodeSequence *q) { return backward<float>(*q, 0); }
int lemode_backward_f64(const LemodeSequence *q) { return backward<double>(*q, 1); }
int lemode_rollout_f32(const LemodeRollout *q) { return rollout(*q, 0); }
int lemode_rollout_f64(const LemodeRollout *q) { return rollout(*q, 1); }

int64_t lemode_vector_bytes(void) { return current().kernels->vector_bytes; }

void lemode_tanh_f32(const float *x, float *out, int64_t n) { current().kernels->tanh[0](x, out, n); }
void lemode_tanh_f64(const double *x, double *out, int64_t n) { current().kernels->tanh[1](x, out, n); }
void lemode_sigmoid_f32(const float *x, float *out, int64_t n) { current().kernels->sigmoid[0](x, out, n); }
void lemode_sigmoid_f64(const double *x, double *out, int64_t n) { current().kernels->sigmoid[1](x, out, n); }

double lemode_multiply_adds(int64_t n, double *sum) { return current().kernels->multiply_adds(n, sum); }

const char *lemode_isa(void) { return current().name; }

int lemode_select(const char *name) {
  const Isa *isa = find(name);
  if (!isa) return 1;
  chosen.store(isa);
  return 0;
}

void lemode_trim(void) {
  const std::lock_guard<std::mutex> hold(pool.lock);
  pool.trim(0);
}

int lemode_version(void) { return 5; }
}
