"""What `launch.benchmark` can measure, one module each.

A module offers CONTENDERS, in the order in which they are shown; REFERENCES,
those that ratios are to, a column each; WARM_UP_STEPS, and PROBE_STEPS, by
which it is found how many fill a turn, or TURN_STEPS, where all turns are of as
many; perhaps ROUNDS, how many turns each has by default;
`add_arguments(parser)`; and `make(contender, arguments)`, which returns a
function that runs some steps and returns how many.

PEERS are contenders of other libraries, for which `peer_arguments(contender,
arguments)` returns what `peers.py` takes, or the module's PEERS_SCRIPT. That is
a script: it runs under the Python of `--peers_python`, where those libraries
are installed.

`contenders`, `mujoco_training` and the two scripts are no such modules.
"""
