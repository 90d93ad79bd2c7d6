"""Processes of the simulated cell: world, renderer, scripted operators."""
