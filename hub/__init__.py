"""Concord: a secure inter-agency data-sharing hub with GIS."""

__version__ = "0.1.0"
