"""What `launch.benchmark` can measure, see `benchmark.Benchmark`.

`peers.py` is a script of its own: it runs under the Python of --peers_python,
where the libraries to compare with are installed.
"""
