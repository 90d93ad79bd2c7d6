"""A camera without a world: a test pattern in the block that the software back end reads."""

from realsense_camera.emulator.pattern import PatternCamera, draw_pattern

__all__ = ["PatternCamera", "draw_pattern"]
