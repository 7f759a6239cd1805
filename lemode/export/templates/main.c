/* Forecasts a CSV file: ./{{ name }} history.csv steps{{ " inputs.csv" if plan.inputs else "" }}
 *
 * The first line of each file names its columns; empty cells are missing. Prints the steps that follow the history.
 * Compile:  gcc -O3 -std=c99 {{ name }}.c main.c -lm -o {{ name }}
 */
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "{{ name }}.h"

static void stop(const char *file, const char *what, const char *which) {
  fprintf(stderr, "%s: %s%s.\n", file, what, which);
  exit(1);
}

static void *bytes(size_t n) {
  void *p = malloc(n ? n : 1);
  if (!p) stop("{{ name }}", "out of memory", "");
  return p;
}

static char *read_all(const char *file) {
  size_t size = 1 << 16, n = 0, got;
  char *text = bytes(size);
  FILE *f = fopen(file, "rb");
  if (!f) stop(file, strerror(errno), "");
  while ((got = fread(text + n, 1, size - n - 1, f)) > 0) {
    n += got;
    if (n + 1 == size) {
      size *= 2;
      text = realloc(text, size);
      if (!text) stop(file, "out of memory", "");
    }
  }
  if (ferror(f)) stop(file, "cannot be read", "");
  fclose(f);
  text[n] = 0;
  return text;
}

/* Cuts off the next cell, without blanks and quotes around it; in quotes a quote is written twice. 1 if more follow in this line. */
static int next_cell(char **at, char separator, char **word) {
  char *p = *at, *to, end;
  while (*p == ' ') ++p;
  *word = to = p;
  if (*p == '"') {
    for (++p; *p && (*p != '"' || p[1] == '"'); ++p) {
      if (*p == '"') ++p;
      *to++ = *p;
    }
    while (*p && *p != separator && *p != '\n') ++p;
  } else {
    while (*p && *p != separator && *p != '\n') ++p;
    to = p;
    while (to > *word && (to[-1] == ' ' || to[-1] == '\r')) --to;
  }
  end = *p;
  *at = end ? p + 1 : p;
  *to = 0;
  return end == separator;
}

static char separator_of(const char *text) {
  int comma = 0, semicolon = 0, tab = 0;
  for (; *text && *text != '\n'; ++text) {
    comma += *text == ',';
    semicolon += *text == ';';
    tab += *text == '\t';
  }
  return semicolon > comma && semicolon >= tab ? ';' : tab > comma ? '\t' : ',';
}

static double number(const char *file, const char *word) {
  char *end;
  double x;
  if (!*word || !strcmp(word, "NA") || !strcmp(word, "nan") || !strcmp(word, "NaN")) return nan("");
  x = strtod(word, &end);
  if (*end) stop(file, "this is no number: ", word);
  return x;
}

/* The named columns, (rows, count), of a file. */
static double *table(const char *file, const char *const *names, int count, long *rows) {
  char *text = read_all(file), *at = text, *word;
  int place[{{ [plan.names|length + plan.inputs|length, 1]|max }}], columns = 0, i, j, more;
  long room = 1024;
  double *x = bytes(room * count * sizeof *x);
  char separator;
  if (!strncmp(at, "\xef\xbb\xbf", 3)) at += 3; /* a byte order mark */
  separator = separator_of(at);
  for (i = 0; i < count; ++i) place[i] = -1;
  do {
    more = next_cell(&at, separator, &word);
    for (i = 0; i < count; ++i)
      if (!strcmp(word, names[i])) place[i] = columns;
    ++columns;
  } while (more);
  for (i = 0; i < count; ++i)
    if (place[i] < 0) stop(file, "there is no column ", names[i]);
  for (*rows = 0; *at; ++*rows) {
    if (*rows == room) {
      room *= 2;
      x = realloc(x, room * count * sizeof *x);
      if (!x) stop(file, "out of memory", "");
    }
    j = 0;
    do {
      more = next_cell(&at, separator, &word);
      for (i = 0; i < count; ++i)
        if (place[i] == j) x[*rows * count + i] = number(file, word);
      ++j;
    } while (more);
    if (j != columns) stop(file, "a line has another number of cells than the first one", "");
    while (*at == '\n' || *at == '\r') ++at; /* empty lines */
  }
  free(text);
  return x;
}

int main(int argc, char **argv) {
  const char *names[{{ NAME }}_VARIABLES + {{ NAME }}_INPUTS];
  double *rows, *history, *known, *u, *x;
  long samples, steps, coming = 0, k;
  {{ name }}_state state;
  const int D = {{ NAME }}_VARIABLES, M = {{ NAME }}_INPUTS;
  char *end;
  int i;
  if (argc != (M ? 4 : 3)) {
    fprintf(stderr, "usage: %s history.csv steps%s\n", argv[0], M ? " inputs.csv" : "");
    return 2;
  }
  steps = strtol(argv[2], &end, 10);
  if (*end || steps < 1) stop(argv[2], "give a positive number of steps", "");
  for (i = 0; i < D; ++i) names[i] = {{ name }}_names[i];
  for (i = 0; i < M; ++i) names[D + i] = {{ name }}_inputs[i];
  rows = table(argv[1], names, D + M, &samples);
  if (samples < {{ NAME }}_WARMUP) stop(argv[1], "the history is too short: the model needs as many samples as its header says", "");
  history = bytes(samples * D * sizeof *history);
  u = bytes(samples * M * sizeof *u);
  for (k = 0; k < samples; ++k) {
    for (i = 0; i < D; ++i) history[k * D + i] = rows[k * (D + M) + i];
    for (i = 0; i < M; ++i) u[k * M + i] = rows[k * (D + M) + D + i];
  }
  known = M ? table(argv[3], names + D, M, &coming) : NULL;
  if (M && coming < steps) stop(argv[3], "there are fewer inputs than steps", "");
  x = bytes(steps * D * sizeof *x);
  if ({{ name }}_warm_up(&state, history, u, samples)) stop(argv[1], "a value is infinite, or an input is missing", "");
  if ({{ name }}_forecast(&state, known, steps, x)) stop(M ? argv[3] : argv[1], "an input is missing or infinite", "");
  for (i = 0; i < D; ++i) printf("%s%s", i ? "," : "", names[i]);
  printf("\n");
  for (k = 0; k < steps; ++k)
    for (i = 0; i < D; ++i) printf("%.17g%s", x[k * D + i], i + 1 < D ? "," : "\n");
  free(rows);
  free(history);
  free(u);
  free(known);
  free(x);
  return 0;
}
