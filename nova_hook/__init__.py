"""Boots what was pushed: resolves a Glance image to a digest and has the Docker Engine start it."""

__version__ = "0.1.0"
