"""`fit` and what happens around its steps; networks come in by Protocol only."""
