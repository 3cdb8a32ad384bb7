"""The class Network, its layers, and its backend on the engine."""
