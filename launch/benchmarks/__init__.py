"""What `launch.benchmark` can measure, one module each.

A module offers CONTENDERS, in the order in which they are shown, and
`add_arguments(parser)` and `make(contender, arguments)`: the latter returns a
function that runs some environment steps of training and returns how many.
"""
