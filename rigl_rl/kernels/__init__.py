"""TensorFlow operations in C++, compiled at first use by the user's compiler.

Each does what operations of TensorFlow can do as well, in less time: where they
cannot be compiled, a run is slower. Adam, target updates, MaintainSparsity and
noise give the same numbers, bit for bit; sums over active weights (`sparse_*`)
give them but for rounding.

`*ops.cc` is what TensorFlow sees; the arithmetic is in the other files, which
know nothing of TensorFlow.
"""
