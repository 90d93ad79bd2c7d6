"""Whether an episode of one cell may be played on another."""

import dataclasses

from ate_core.contract import Cell
from ate_core.errors import EpisodeError

ARM_FIELDS = ("model", "joint_names", "base_pose", "tool_length")
"""Of an arm: with others, the same joints are another way of the tool."""
GRIPPER_FIELDS = ("stroke_m",)
"""Of a gripper: with another, the same ratio is another opening."""


def require_fit(recorded: Cell, running: Cell, sides: tuple[str, ...], name: str) -> None:
    """Refuse an episode whose joints mean another way on the running cell.

    Args:
        recorded: the cell of the episode.
        running: the cell to play on.
        sides: arms to play.
        name: of the episode.

    Raises:
        EpisodeError: naming all that differs.
    """
    for side in sides:
        if side not in recorded.arms or side not in running.arms:
            where = name if side not in recorded.arms else running.name
            raise EpisodeError(f"{where} has no {side} arm: choose another with --arms")
    changed = []
    for side in sides:
        changed += _changes(f"{side} arm", recorded.arms[side], running.arms[side], ARM_FIELDS)
        if side in recorded.grippers and side in running.grippers:
            pair = recorded.grippers[side], running.grippers[side]
            changed += _changes(f"{side} gripper", *pair, GRIPPER_FIELDS)
    if changed:
        raise EpisodeError(
            f"{name} was recorded in another cell: {'; '.join(changed)}: play it on "
            f"{recorded.name} as it was, or correct cell.yaml"
        )


def notes(recorded: Cell, running: Cell) -> list[str]:
    """What differs besides, for people: entries of the contract by name."""
    if recorded.sha256 == running.sha256:
        return []
    names = [
        field.name
        for field in dataclasses.fields(Cell)
        if getattr(recorded, field.name) != getattr(running, field.name)
    ]
    return [f"the contract differs from the one of the episode in {', '.join(names)}"]


def _changes(what: str, before: object, now: object, fields: tuple[str, ...]) -> list[str]:
    return [
        f"{name} of the {what} was {getattr(before, name)!r}, is {getattr(now, name)!r}"
        for name in fields
        if getattr(before, name) != getattr(now, name)
    ]
