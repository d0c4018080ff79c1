"""One batch of matching, solved to a proven distance from the optimum.

feasibility  each hard rule as one function, vectorized
tables       the problem as arrays; scores of any block of pairs
edges        shortlist of volunteers per candidate, expansion to slots, pricing with duals
flow         the transportation network, its optimum and the slots' prices
floors       a price for groups that are served too rarely
greedy       the fallback on the same edges
batch        the rounds; `solve`
child        `solve` in a child process with a deadline; `solve_in_child`
instance     the file format `hustings-match/1`

python -m services.matching.solver INSTANCE.json.gz > answer.jsonl
"""
