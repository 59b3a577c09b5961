"""Runs a layer of PyTorch or SparseProp, under a Python that has them.

Speaks the protocol of `launch.benchmark`'s workers: for each line of stdin, a
number of steps, it takes as many and prints how many and the seconds.
"""

from __future__ import annotations

import argparse
import os
import sys
import time


def main() -> None:
  parser = argparse.ArgumentParser(description=__doc__)
  parser.add_argument(
    '--library', choices=('torch', 'sparseprop'), required=True
  )
  parser.add_argument('--sparsity', type=float, required=True)
  parser.add_argument('--shape', required=True)
  parser.add_argument('--threads', type=int, required=True)
  arguments = parser.parse_args()
  # SparseProp's threads, which its library reads when it is loaded.
  os.environ['OMP_NUM_THREADS'] = str(arguments.threads)
  import torch

  torch.set_num_threads(arguments.threads)
  torch.manual_seed(0)
  inputs, outputs, examples = map(int, arguments.shape.split(','))
  layer = torch.nn.Linear(inputs, outputs)
  if arguments.library == 'sparseprop':
    from sparseprop.modules.linear import SparseLinear

    # As many weights in each layer as ours has.
    zeros = round(arguments.sparsity * inputs * outputs)
    order = torch.randperm(inputs * outputs)
    with torch.no_grad():
      layer.weight.view(-1)[order[:zeros]] = 0
    layer = SparseLinear.from_dense(layer)
  x = torch.randn(examples, inputs, requires_grad=True)
  dy = torch.randn(examples, outputs)
  variables = [x, *layer.parameters()]
  for line in sys.stdin:
    steps = int(line)
    begin = time.perf_counter()
    for _ in range(steps):
      torch.autograd.grad(layer(x), variables, dy)
    seconds = time.perf_counter() - begin
    print(f'turn {steps} {seconds}', flush=True)


if __name__ == '__main__':
  main()
