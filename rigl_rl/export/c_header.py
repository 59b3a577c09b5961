"""The greedy policy of a run as one C header, which needs only C99.

Layers are stored and computed by their active weights. The arithmetic is that
of `rigl_rl.networks.numpy_mlp`, so actions differ only by rounding.
"""

from __future__ import annotations

import os
import subprocess
import tempfile
import textwrap
from typing import Any, NamedTuple

import numpy as np

from rigl_rl.errors import UserError
from rigl_rl.export import weights
from rigl_rl.networks import numpy_mlp

_HEADER = """\
/* {title}.
 *
 * {signature}
 *   observation: POLICY_OBSERVATIONS numbers, as the environment gives them.
 *   {result}
 *
 * Of {all_weights:,} weights {active:,} are active. C99; link with -lm.
 */
#ifndef RIGL_RL_POLICY_H
#define RIGL_RL_POLICY_H

#include <math.h>
#include <stdint.h>

#define POLICY_OBSERVATIONS {observations}
#define POLICY_ACTIONS {actions}

{arrays}

/* Kernels in compressed sparse rows: row i holds the weights of input i. */
static const struct {{
  int inputs, outputs;
  const float *data;
  const uint32_t *columns, *rows;
  const float *bias;
}} policy_layers[] = {{
{layers}
}};

static inline {signature} {{
  float x[{widest}], y[{widest}];
  for (int j = 0; j < POLICY_OBSERVATIONS; ++j)
    x[j] = {input};
  for (int n = 0; n < {count}; ++n) {{
    for (int j = 0; j < policy_layers[n].outputs; ++j)
      y[j] = policy_layers[n].bias[j];
    for (int i = 0; i < policy_layers[n].inputs; ++i) {{
      if (x[i] == 0.0f) continue;
      const uint32_t end = policy_layers[n].rows[i + 1];
      for (uint32_t k = policy_layers[n].rows[i]; k < end; ++k)
        y[policy_layers[n].columns[k]] += policy_layers[n].data[k] * x[i];
    }}
    for (int j = 0; j < policy_layers[n].outputs; ++j)
      x[j] = n + 1 == {count} ? y[j] : {activation};
  }}
{choice}
}}

#endif
"""
_ACTIVATIONS = {'relu': 'y[j] > 0.0f ? y[j] : 0.0f', 'tanh': 'tanhf(y[j])'}
_BEST = """\
  int best = 0;
  for (int j = 1; j < POLICY_ACTIONS; ++j)
    if (x[j] > x[best]) best = j;
  return best;"""
_CLIPPED = """\
  for (int j = 0; j < POLICY_ACTIONS; ++j)
    action[j] = fminf(fmaxf({}, policy_low[j]), policy_high[j]);"""
# Reads observations; writes actions and, as text, µs per action.
_MAIN = """\
#include <stdio.h>
#include <time.h>
#include "policy.h"
static float x[{count}][POLICY_OBSERVATIONS], y[{count}][POLICY_ACTIONS];
int main(void) {{
  if (fread(x, sizeof x, 1, stdin) != 1) return 1;
  const clock_t begin = clock();
  for (int turn = 0; turn < 20; ++turn)
    for (int i = 0; i < {count}; ++i) {call};
  const double seconds = (double)(clock() - begin) / CLOCKS_PER_SEC;
  fprintf(stderr, "%g", 1e6 * seconds / 20 / {count});
  return fwrite(y, sizeof y, 1, stdout) != 1;
}}
"""


class Header(NamedTuple):
  """A C header."""

  text: str
  active: int  # Number of active weights.
  all_weights: int  # Without biases.
  size: int  # Of its constants, in bytes.
  is_discrete: bool  # Whether its function returns the number of an action.


def make(policy: Any, title: str) -> Header:
  """Writes a `saved_run.Policy` in C; `title` says what it is.

  Raises:
    UserError: its network is no multi-layer perceptron.
  """
  greedy = policy.greedy
  is_discrete = not isinstance(greedy, numpy_mlp.NumpyActor)
  mlp = greedy.q_values if is_discrete else greedy.mlp
  if not isinstance(mlp, numpy_mlp.NumpyMLP):
    raise UserError(
      '--out ends in .h, but must end in .npz, or be a directory, for a '
      'network that is no multi-layer perceptron, such as one of Atari.'
    )
  layers = list(mlp.weights)
  arrays = {}
  source = 'observation[j]'
  if is_discrete:
    choice = _BEST
    signature = 'int policy(const float *observation)'
    result = 'Returns the number of an action, from 0.'
  else:
    # The other outputs of SAC's actor are standard deviations.
    layers[-1] = tuple(each[..., : len(greedy.low)] for each in layers[-1])
    arrays |= {'low': greedy.low, 'high': greedy.high}
    mean = 'x[j]'
    if greedy.is_squashed:
      arrays |= {'center': greedy.center, 'magnitude': greedy.magnitude}
      mean = 'tanhf(x[j]) * policy_magnitude[j] + policy_center[j]'
    choice = _CLIPPED.format(mean)
    if greedy.normalizer is not None:
      scale, shift = greedy.normalizer.scale, greedy.normalizer.shift
      arrays |= {'scale': scale, 'shift': shift}
      limit = f'{greedy.normalizer.limit}f'
      source += ' * policy_scale[j] + policy_shift[j]'
      source = f'fminf(fmaxf({source}, -{limit}), {limit})'
    signature = 'void policy(const float *observation, float *action)'
    result = 'action: gets POLICY_ACTIONS numbers, within their range.'
  table = []
  for n, (kernel, bias) in enumerate(layers):
    rows = weights.to_csr(kernel, kernel)
    parts = {'data': rows.data, 'columns': rows.indices, 'rows': rows.indptr}
    parts['bias'] = bias
    arrays |= {f'{name}{n}': values for name, values in parts.items()}
    names = ', '.join(f'policy_{name}{n}' for name in parts)
    table.append(f'  {{{", ".join(map(str, kernel.shape))}, {names}}},')
  active = sum(np.count_nonzero(kernel) for kernel, _ in layers)
  all_weights = sum(kernel.size for kernel, _ in layers)
  text = _HEADER.format(
    title=title.replace('*/', '* /'),
    signature=signature,
    result=result,
    active=active,
    all_weights=all_weights,
    observations=len(layers[0][0]),
    actions=len(layers[-1][1]),
    arrays='\n'.join(_constant(name, each) for name, each in arrays.items()),
    layers='\n'.join(table),
    widest=max(max(kernel.shape) for kernel, _ in layers),
    input=source,
    count=len(layers),
    activation=_ACTIVATIONS[mlp.activation],
    choice=choice,
  )
  size = sum(each.nbytes for each in arrays.values())
  return Header(text, active, all_weights, size, is_discrete)


def _constant(name: str, values: np.ndarray) -> str:
  is_float = values.dtype == np.float32
  # The shortest text of a float32 that reads back as the same bits.
  words = [f'{value!s}{"f" * is_float}' for value in values]
  # C has no empty arrays: a layer without active weights gets one of zero.
  lines = textwrap.fill(', '.join(words or ['0']), 78)
  kind = 'float' if is_float else 'uint32_t'
  return f'static const {kind} policy_{name}[] = {{\n{lines}}};'


def measure(
  header: Header, observations: np.ndarray
) -> tuple[np.ndarray, float]:
  """Compiles a header with `cc`, or what CC names, and acts.

  Args:
    header: what `make` returned.
    observations: `(count, *observation)`.

  Returns:
    The actions, `(count,)` or `(count, m)`, and µs per action.

  Raises:
    OSError: there is no C compiler.
    subprocess.CalledProcessError: it fails.
  """
  count = len(observations)
  call = (
    'y[i][0] = policy(x[i])' if header.is_discrete else 'policy(x[i], y[i])'
  )
  flags = ('-std=c99', '-O2', '-Wall', '-Werror')
  with tempfile.TemporaryDirectory() as directory:
    main = _MAIN.format(count=count, call=call)
    for name, text in (('policy.h', header.text), ('main.c', main)):
      with open(os.path.join(directory, name), 'w', encoding='utf-8') as file:
        file.write(text)
    for command in (
      [os.environ.get('CC', 'cc'), *flags, 'main.c', '-lm'],
      [os.path.join(directory, 'a.out')],
    ):
      done = subprocess.run(
        command,
        input=observations.astype(np.float32).tobytes(),
        cwd=directory,
        capture_output=True,
        check=True,
      )
  actions = np.frombuffer(done.stdout, np.float32).reshape(count, -1)
  return actions[:, 0] if header.is_discrete else actions, float(done.stderr)
