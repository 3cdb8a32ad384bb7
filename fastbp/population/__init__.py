"""Populations: many networks trained in one call, each with the bits that it would have alone."""

from .._public import present
from ._evolve import Evolution
from ._explain import PopulationExplanation, ShapeTime
from ._halving import Halving
from ._population import Population

__all__ = ["Evolution", "Halving", "Population", "PopulationExplanation", "ShapeTime"]

present(__name__, ["Evolution", "Halving", "PopulationExplanation", "ShapeTime"])
