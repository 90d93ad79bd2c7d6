"""What is particular to each task."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Task:
    """What is particular to one task."""

    environment: str
    """Environment of its simulator."""
    robot: str
    """Contract of its robot, in `robots/`."""
    instruction: str
    """The task in words."""
    limit: int
    """Longest trial [ticks]."""
    pretraining: str | None
    """Task whose demonstrations stage 1 of the VAE sees; None: generated motion of other arms."""
    demonstrations: int
    """Demonstrations, so few that plain fine-tuning neither always nor never succeeds."""
    steps: int
    """Optimiser steps of a policy, chosen likewise."""


TASKS = {
    "push_cube": Task(
        environment="maniskill",
        robot="panda",
        instruction="push the cube to the target",
        limit=100,
        pretraining="pick_cube",
        demonstrations=10,
        steps=200,
    ),
    "pick_cube": Task(
        environment="maniskill",
        robot="panda",
        instruction="pick up the cube and hold it at the goal",
        limit=100,
        pretraining="push_cube",
        demonstrations=50,
        steps=1000,
    ),
    "two_arm_lift": Task(
        environment="robosuite",
        robot="two_pandas",
        instruction="lift the pot by its two handles",
        limit=120,
        pretraining=None,
        demonstrations=10,
        steps=500,
    ),
}
