"""How fast the engine trains on this machine, and how that compares with what else is installed.

`fastbp bench` runs it; `fastbp.bench.runner.measure` gives the same as a dict, whose layout
`fastbp.bench.report` describes. NumPy is all it needs; peers are used where they are installed.
"""
