"""Policies of the two-arm cell: models, checkpoints, inference and chunk execution."""
