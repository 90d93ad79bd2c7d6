"""Arm models: one YAML and one URDF each, read by kinematics, simulation and viewers."""

from ate_description.loader import model_file, model_names

__all__ = ["model_file", "model_names"]
