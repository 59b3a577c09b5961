"""What `launch.cost` counts, apart from how it is printed.

`jobs` holds what a gin config trains, and what that costs. `readers` finds it
out of a config that gin has parsed: one function for each runner. An agent that
an actor-critic runner builds needs no word here: what it trains is in its
`networks`.
"""
