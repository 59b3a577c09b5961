"""TensorFlow operations in C++, compiled at first use by the user's compiler.

Each does what operations of TensorFlow can do as well, bit for bit, but in less
time: where they cannot be compiled, a run is slower and its numbers the same.
`*ops.cc` is what TensorFlow sees; the arithmetic is in the other files, which
know nothing of TensorFlow.
"""
