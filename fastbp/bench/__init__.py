"""How fast the engine trains on this machine, and how that compares with what else is installed.

`fastbp bench` runs it; `fastbp.bench._runner.measure` gives the same as a dict, whose layout
`fastbp.bench._report` describes. NumPy is all it needs; peers are used where they are installed.
"""
