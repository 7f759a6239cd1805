/* A surrogate, written by lemode {{ version }}; see {{ name }}.h. */
#include "{{ name }}.h"

#include <math.h>
#include <stdint.h>
#include <string.h>

{% set D = plan.names|length %}
{% set W = plan.width %}
{% set M = plan.inputs|length %}
{% set P = plan.delays %}
{% set L = layers|length %}
{% set reads = W * (1 + P) + 2 * M %}
#define VARIABLES {{ D }}
#define WIDTH {{ W }}  /* coordinates: an angle has two */
#define INPUTS {{ M }}
#define DELAYS {{ P }}
#define LAYERS {{ L }}
#define UNITS {{ units }}  /* padded with units that do nothing */
#define READS {{ reads }}
#define PADDED {{ layers[0].reads }}  /* of these, with zeros behind */
#define FEATURES {{ features }}
#define LANES 8

const char *const {{ name }}_names[VARIABLES] = { {{- names|join(", ") -}} };
const char *const {{ name }}_inputs[{{ [M, 1]|max }}] = { {{- inputs|join(", ") if M else "0" -}} };

static const double mean[WIDTH] = {
  {{ mean }}};
static const double deviation[WIDTH] = {
  {{ std }}};
static const double increment[WIDTH] = {
  {{ increment }}};
{% if contained %}
static const double lower[WIDTH] = {
  {{ lower }}};
static const double upper[WIDTH] = {
  {{ upper }}};
{% endif %}
{% if robust %}
static const double low[VARIABLES] = {
  {{ low }}};
static const double high[VARIABLES] = {
  {{ high }}};
{% endif %}
{% if M %}
static const double input_mean[INPUTS] = {
  {{ input_mean }}};
static const double input_deviation[INPUTS] = {
  {{ input_std }}};
{% endif %}
{% for layer in layers %}
static const double bias_{{ loop.index0 }}[4 * UNITS] = {
  {{ layer.bias }}};
static const double from_input_{{ loop.index0 }}[{{ layer.reads }} * 4 * UNITS] = {
  {{ layer.input }}};
static const double from_y_{{ loop.index0 }}[UNITS * 3 * UNITS] = {
  {{ layer.state }}};
static const double from_z_{{ loop.index0 }}[UNITS * UNITS] = {
  {{ layer.zy }}};
{% endfor %}
static const double head[WIDTH * FEATURES] = {
  {{ head }}};
static const double head_bias[WIDTH] = {
  {{ head_bias }}};

/* a b + c in one instruction where there is one: -std=c99 forbids a compiler to fuse the two by itself. */
#ifdef FP_FAST_FMA
#define MULTIPLY_ADD(a, b, c) fma(a, b, c)
#else
#define MULTIPLY_ADD(a, b, c) ((a) * (b) + (c))
#endif

/* By its bits, so that it is found with -ffast-math as well. */
static int is_nan(double x) {
  uint64_t bits;
  memcpy(&bits, &x, sizeof bits);
  return (bits & UINT64_C(0x7fffffffffffffff)) > UINT64_C(0x7ff0000000000000);
}

static int is_infinite(double x) {
  uint64_t bits;
  memcpy(&bits, &x, sizeof bits);
  return (bits & UINT64_C(0x7fffffffffffffff)) == UINT64_C(0x7ff0000000000000);
}

/* exp(x) = s + s p with s = 2^k and p = exp(x - k ln 2) - 1, minimax as in lemode's core; |x| <= 700. No branches, for vectors. */
static inline void exp_parts(double x, double *s, double *p) {
  const int32_t k = (int32_t)MULTIPLY_ADD(x, 0x1.71547652b82fep+0, 1024.5) - 1024;
  const double r = MULTIPLY_ADD(-k, 0x1.a39ef35793c76p-33, MULTIPLY_ADD(-k, 0x1.62e42fee00000p-1, x));
  const uint64_t bits = (uint64_t)((int64_t)k + 1023) << 52;
  double q = 2.5114312986385839992e-8;
  q = MULTIPLY_ADD(q, r, 2.7627724830795940844e-7);
  q = MULTIPLY_ADD(q, r, 2.7557228750830681928e-6);
  q = MULTIPLY_ADD(q, r, 2.4801501032694161787e-5);
  q = MULTIPLY_ADD(q, r, 0.00019841269901771841083);
  q = MULTIPLY_ADD(q, r, 0.0013888888935122487239);
  q = MULTIPLY_ADD(q, r, 0.008333333333315365599);
  q = MULTIPLY_ADD(q, r, 0.041666666666565559239);
  q = MULTIPLY_ADD(q, r, 0.16666666666666684444);
  q = MULTIPLY_ADD(q, r, 0.50000000000000061875);
  *p = MULTIPLY_ADD(r * r, q, r);
  memcpy(s, &bits, sizeof bits);
}

/* |x|, at most a limit, and the sign: by bits, which are ordered as numbers are. What is no number becomes the limit: a run that has
 * blown up stays so by its x. */
static inline double size_of(double x, double limit, uint64_t *sign) {
  int64_t bits, most;
  uint64_t all;
  memcpy(&all, &x, sizeof all);
  memcpy(&most, &limit, sizeof most);
  *sign = all & UINT64_C(0x8000000000000000);
  bits = (int64_t)(all ^ *sign);
  bits = bits > most ? most : bits;
  memcpy(&x, &bits, sizeof x);
  return x;
}

static inline double with_sign(double x, uint64_t sign) {
  uint64_t bits;
  memcpy(&bits, &x, sizeof bits);
  bits ^= sign;
  memcpy(&x, &bits, sizeof x);
  return x;
}

/* exp(-x), within what a product with exp(40) can hold. */
static inline double decay(double x) {
  double s, p;
  uint64_t sign;
  const double a = size_of(x, 660.0, &sign);
  exp_parts(-with_sign(a, sign), &s, &p);
  return MULTIPLY_ADD(s, p, s);
}

/* x after a step h to its target tanh(c) = e / (e + 2), e = exp(2|c|) - 1, at the rate sigmoid(a) = 1 / (1 + exp(-a)), by scheme
 * '{{ plan.scheme }}'. The quotients are one where they can be: divisions are what takes longest. */
static inline double toward(double x, double a, double c, double h) {
  double s, p, e, way;
  uint64_t sign;
  exp_parts(2.0 * size_of(c, 20.0, &sign), &s, &p);
  e = MULTIPLY_ADD(s, p, s - 1.0);
  way = MULTIPLY_ADD(-x, e + 2.0, with_sign(e, sign));
{% if plan.scheme in ("imex", "explicit") %}
  return x + h * way / ((e + 2.0) * (1.0 + decay(a)));
{% elif plan.scheme == "semi_implicit" %}
  return x + h * way / ((e + 2.0) * (1.0 + h + decay(a)));
{% else %}
  exp_parts(-size_of(h / (1.0 + decay(a)), 700.0, &sign), &s, &p);
  return x + MULTIPLY_ADD(-s, p, 1.0 - s) * (way / (e + 2.0));
{% endif %}
}

/* out += x_j times row j of the weights, for all j; four rows at a time, and m is a multiple of four. */
static inline void add_rows(int n, int m, const double *weights, const double *x, double *restrict out) {
  int i, j;
  for (j = 0; j < m; j += 4) {
    const double *w = weights + j * n;
    const double a = x[j], b = x[j + 1], c = x[j + 2], d = x[j + 3];
    for (i = 0; i < n; ++i) out[i] += MULTIPLY_ADD(w[n + i], b, w[i] * a) + MULTIPLY_ADD(w[3 * n + i], d, w[2 * n + i] * c);
  }
}

{% if plan.scheme == "strang" %}
static void relax(double *x, const double *rate, double h, const double *target) {
  int i;
  for (i = 0; i < UNITS; ++i) x[i] = toward(x[i], rate[i], target[i], h);
}

{% endif %}
/* One step of a layer: a has the blocks 1, 2, z, y of what its input and its biases contribute. */
static inline void layer(double *a, const double *from_y, const double *from_z, double h, double *y, double *z) {
  int i;
{% if plan.scheme == "strang" %}
  double b[4 * UNITS], c[4 * UNITS], middle[UNITS];
  memcpy(b, a, sizeof b);
  add_rows(3 * UNITS, UNITS, from_y, y, b);
  relax(z, b, 0.5 * h, b + 2 * UNITS);
  add_rows(UNITS, UNITS, from_z, z, a + 3 * UNITS);
  for (i = 0; i < UNITS; ++i) middle[i] = y[i];
  relax(middle, b + UNITS, 0.5 * h, a + 3 * UNITS);
  memcpy(c, a, sizeof c);
  add_rows(3 * UNITS, UNITS, from_y, middle, c);
  relax(y, c + UNITS, h, a + 3 * UNITS);
  add_rows(3 * UNITS, UNITS, from_y, y, a);
  relax(z, a, 0.5 * h, a + 2 * UNITS);
{% else %}
  add_rows(3 * UNITS, UNITS, from_y, y, a);
{% if plan.scheme == "explicit" %}
  add_rows(UNITS, UNITS, from_z, z, a + 3 * UNITS);
{% endif %}
  for (i = 0; i < UNITS; ++i) z[i] = toward(z[i], a[i], a[2 * UNITS + i], h);
{% if plan.scheme != "explicit" %}
  add_rows(UNITS, UNITS, from_z, z, a + 3 * UNITS);
{% endif %}
  for (i = 0; i < UNITS; ++i) y[i] = toward(y[i], a[UNITS + i], a[3 * UNITS + i], h);
{% endif %}
}

/* The head: in eight sums, which a vector adds up at once. */
static inline double of_head(int row, const double *f) {
  double sum[LANES] = {0.0};
  int j, l;
  for (j = 0; j < FEATURES; j += LANES)
    for (l = 0; l < LANES; ++l) sum[l] = MULTIPLY_ADD(head[row * FEATURES + j + l], f[j + l], sum[l]);
  return ((sum[0] + sum[4]) + (sum[2] + sum[6])) + ((sum[1] + sum[5]) + (sum[3] + sum[7])) + head_bias[row];
}

static inline double held(double x, int i) {
{% if contained %}
  return x < lower[i] ? lower[i] : x > upper[i] ? upper[i] : x;
{% else %}
  (void)i;
  return x;
{% endif %}
}

/* Values that are there in the place of predictions. */
static int take({{ name }}_state *s, const double *x) {
  double there[VARIABLES];
  int i;
  for (i = 0; i < VARIABLES; ++i) {
    if (is_infinite(x[i])) return 1;
    there[i] = !is_nan(x[i]);
{% if robust %}
    if (there[i] && (x[i] < low[i] || x[i] > high[i])) there[i] = 0;  /* an outlier is missing */
{% endif %}
  }
  for (i = 0; i < VARIABLES; ++i) {
    if (!there[i]) continue;
    s->x[i] = held((x[i] - mean[i]) / deviation[i], i);
  }
{% for place in plan.angles %}
  if (there[{{ place }}]) {
    s->x[{{ place }}] = held((cos(x[{{ place }}]) - mean[{{ place }}]) / deviation[{{ place }}], {{ place }});
    s->x[{{ D + loop.index0 }}] = held((sin(x[{{ place }}]) - mean[{{ D + loop.index0 }}]) / deviation[{{ D + loop.index0 }}], {{ D + loop.index0 }});
  }
{% endfor %}
  return 0;
}

/* The inputs, normalised. */
static int read_inputs(const double *u, double *e) {
{% if M %}
  int i;
  for (i = 0; i < INPUTS; ++i) {
    if (is_nan(u[i]) || is_infinite(u[i])) return 1;
    e[i] = (u[i] - input_mean[i]) / input_deviation[i];
  }
{% else %}
  (void)u;
  (void)e;
{% endif %}
  return 0;
}

int {{ name }}_begin({{ name }}_state *s, const double *x, const double *u) {
  {{ name }}_state fresh;
  int i;
  memset(&fresh, 0, sizeof fresh);
  for (i = 0; i < WIDTH; ++i) fresh.x[i] = held(0.0, i);  /* what is missing begins at the mean */
  if (take(&fresh, x) || read_inputs(u, fresh.u)) return 1;
{% if P %}
  for (i = 0; i < DELAYS; ++i) memcpy(fresh.past[i], fresh.x, sizeof fresh.x);
{% endif %}
  *s = fresh;
  return 0;
}

int {{ name }}_see({{ name }}_state *s, const double *x) { return take(s, x); }

int {{ name }}_step({{ name }}_state *s, const double *u) {
  double input[PADDED] = {0.0}, a[4 * UNITS], f[FEATURES];
  double next[{{ [M, 1]|max }}];
  int i, n = 0;
  if (read_inputs(u, next)) return 1;
  for (i = 0; i < WIDTH; ++i) input[n++] = s->x[i];
{% if P %}
  {
    int j;  /* the newest first */
    for (j = 0; j < DELAYS; ++j)
      for (i = 0; i < WIDTH; ++i) input[n++] = s->past[j][i];
  }
{% endif %}
{% if M %}
  for (i = 0; i < INPUTS; ++i) input[n++] = s->u[i];
  for (i = 0; i < INPUTS; ++i) input[n++] = next[i];
  memcpy(s->u, next, sizeof next);
{% endif %}
{% for layer in layers %}
  memcpy(a, bias_{{ loop.index0 }}, sizeof a);
  add_rows(4 * UNITS, {{ layer.reads }}, from_input_{{ loop.index0 }}, {{ "input" if loop.first else "s->y[%d]" % (loop.index0 - 1) }}, a);
  layer(a, from_y_{{ loop.index0 }}, from_z_{{ loop.index0 }}, {{ layer.dt }}, s->y[{{ loop.index0 }}], s->z[{{ loop.index0 }}]);
{% endfor %}
{% if plan.readout %}
  /* the series, its differences, the inputs, and all of the state */
  n = 0;
  for (i = 0; i < WIDTH; ++i) f[n++] = input[i];
  for (i = 0; i < WIDTH * DELAYS; ++i) f[n++] = (input[i] - input[i + WIDTH]) / increment[i % WIDTH];
  for (i = WIDTH * (1 + DELAYS); i < READS; ++i) f[n++] = input[i];
  while (n % LANES) f[n++] = 0.0;
  for (i = 0; i < LAYERS; ++i) {
    memcpy(f + n, s->y[i], sizeof s->y[i]);
    memcpy(f + n + UNITS, s->z[i], sizeof s->z[i]);
    n += 2 * UNITS;
  }
{% else %}
  (void)n;
  memcpy(f, s->y[LAYERS - 1], sizeof f);
{% endif %}
{% if P %}
  for (i = DELAYS - 1; i > 0; --i) memcpy(s->past[i], s->past[i - 1], sizeof s->x);
  memcpy(s->past[0], s->x, sizeof s->x);
{% endif %}
  for (i = 0; i < WIDTH; ++i) s->x[i] = held(input[i] + increment[i] * of_head(i, f), i);
  return 0;
}

void {{ name }}_get(const {{ name }}_state *s, double *x) {
  int i;
  for (i = 0; i < VARIABLES; ++i) x[i] = s->x[i] * deviation[i] + mean[i];
{% for place in plan.angles %}
  x[{{ place }}] = atan2(s->x[{{ D + loop.index0 }}] * deviation[{{ D + loop.index0 }}] + mean[{{ D + loop.index0 }}], x[{{ place }}]);
{% endfor %}
}

int {{ name }}_warm_up({{ name }}_state *s, const double *x, const double *u, long samples) {
  {{ name }}_state run;
  long k;
  if (samples < 1 || {{ name }}_begin(&run, x, u)) return 1;
  for (k = 1; k < samples; ++k) {
    if ({{ name }}_step(&run, {{ "u + k * INPUTS" if M else "u" }}) || {{ name }}_see(&run, x + k * VARIABLES)) return 1;
  }
  *s = run;
  return 0;
}

int {{ name }}_forecast({{ name }}_state *s, const double *u, long steps, double *x) {
  {{ name }}_state run = *s;
  long k;
  for (k = 0; k < steps; ++k) {
    if ({{ name }}_step(&run, {{ "u + k * INPUTS" if M else "u" }})) return 1;
    {{ name }}_get(&run, x + k * VARIABLES);
  }
  *s = run;
  return 0;
}
