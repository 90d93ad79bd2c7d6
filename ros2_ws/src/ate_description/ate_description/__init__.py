"""Arm models, one YAML and one URDF each, and the shapes of grippers."""

from ate_description.loader import gripper_file, gripper_names, model_file, model_names

__all__ = ["gripper_file", "gripper_names", "model_file", "model_names"]
