"""Paired comparisons over tasks and seeds."""
