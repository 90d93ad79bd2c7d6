"""Distances that the arms keep from each other, from themselves and from what stands around."""

from ate_core.guard.chunk import ChunkGuard
from ate_core.guard.distance_guard import DistanceGuard
from ate_core.guard.geometry import CellGeometry

__all__ = ["CellGeometry", "ChunkGuard", "DistanceGuard"]
