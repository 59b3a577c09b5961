"""The sparse training algorithms, one small file each."""

from rigl_rl.sparsity.algorithms.base import SparseAlgorithm
from rigl_rl.sparsity.algorithms.dense import Dense
from rigl_rl.sparsity.algorithms.ds import DS
from rigl_rl.sparsity.algorithms.prune import Prune
from rigl_rl.sparsity.algorithms.rigl import RigL
from rigl_rl.sparsity.algorithms.set import SET
from rigl_rl.sparsity.algorithms.static import Static

__all__ = ['DS', 'Dense', 'Prune', 'RigL', 'SET', 'SparseAlgorithm', 'Static']
