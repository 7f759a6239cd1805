/* A surrogate, written by lemode {{ version }}: C99, nothing but libm, no allocation, no global state.
 *
 * A step is {{ plan.interval }}{{ " of " ~ plan.clock if plan.clock else "" }}. Variables and inputs are in the units of the data, in the order of {{ name }}_names and
 * {{ name }}_inputs. A NaN among the variables is a value that is missing: the model's own prediction stands in.
 */
#ifndef {{ NAME }}_H
#define {{ NAME }}_H

#ifdef __cplusplus
extern "C" {
#endif

#define {{ NAME }}_VARIABLES {{ plan.names|length }}
#define {{ NAME }}_INPUTS {{ plan.inputs|length }}
#define {{ NAME }}_WARMUP {{ plan.warmup }}  /* samples of history before a forecast is worth something */
#define {{ NAME }}_INTERVAL {{ plan.interval.hex() }}  /* between two samples */

extern const char *const {{ name }}_names[{{ plan.names|length }}];
extern const char *const {{ name }}_inputs[{{ [plan.inputs|length, 1]|max }}];

/* Where a run is; private. A copy of it goes on independently. */
typedef struct {
  double x[{{ plan.width }}];
  double past[{{ [plan.delays, 1]|max }}][{{ plan.width }}];
  double u[{{ [plan.inputs|length, 1]|max }}];
  double y[{{ layers|length }}][{{ units }}], z[{{ layers|length }}][{{ units }}];
} {{ name }}_state;

/* All return 0, or 1 for a number that is infinite or an input that is none, and then have done nothing.
 * u: the inputs at the time of x; NULL in a model without any. */

/* The first sample. */
int {{ name }}_begin({{ name }}_state *s, const double *x, const double *u);

/* One step ahead, to a time at which the inputs are u. */
int {{ name }}_step({{ name }}_state *s, const double *u);

/* What was measured takes the place of what was predicted. */
int {{ name }}_see({{ name }}_state *s, const double *x);

/* The present values: after a step what it predicts. Not finite where a run has blown up. */
void {{ name }}_get(const {{ name }}_state *s, double *x);

/* Begin, and along a history: x (samples, variables), u (samples, inputs). */
int {{ name }}_warm_up({{ name }}_state *s, const double *x, const double *u, long samples);

/* Free running: x (steps, variables) is written, u (steps, inputs) are the inputs at these times. */
int {{ name }}_forecast({{ name }}_state *s, const double *u, long steps, double *x);

#ifdef __cplusplus
}
#endif
#endif
