"""Populations: many networks trained in one call, each with the bits that it would have alone."""

from ._population import Population

__all__ = ["Population"]
