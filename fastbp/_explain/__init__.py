"""Measurements of a training step by layer and phase, and the table that shows them."""
