"""Hand-pose and button sources of one operator, and the emulators that stand in for them.

Nothing is imported here, so each device costs only its own dependencies.
"""
