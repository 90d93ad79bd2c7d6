"""The headline of the page: green only where somebody watches and nothing is wrong. No ROS."""

from collections.abc import Container

from ate_core.json_text import Document, as_document
from ate_core.part_states import part_level, part_state

UNKNOWN_STOP = "emergency stop unknown: its node is silent; `ate stop` stops without it"
UNWATCHED = "nobody watches the cell: no monitor is heard"
RED = ("error", "stale")
"""Levels of the cell as a whole in which it is not fit for use."""


def headline(cell: Document) -> Document:
    """What the headline says of a cell, by the document of the page.

    Args:
        cell: as `CellView.document` gives it: `estop`, `lost`, `arms`, `cameras`, `episode` and
            `whole`.

    Returns:
        ``text``, and ``level``: `bad`, `recording`, `warn` or `good`.
    """
    estop, episode, whole = (as_document(cell[name]) for name in ("estop", "episode", "whole"))
    level, message = str(whole.get("level", "warn")), str(whole.get("message", UNWATCHED))
    parts = _ill_parts(cell)
    if alarm := _alarm(estop, cell["lost"], parts):
        return {"level": "bad", "text": alarm}
    notes = _notes(episode) + ([_told(parts)] if parts else [])
    if not notes and whole and level not in RED:
        notes = ["ready"]
    notes += [message] if level != "ok" else []
    notes += [] if whole else _silences(cell, parts)
    if level in RED:
        colour = "bad"
    elif episode.get("state") == "recording":
        colour = "recording"
    else:
        is_good = level == "ok" and not parts and not episode.get("trouble")
        colour = "good" if is_good else "warn"
    return {"level": colour, "text": "; ".join(notes)}


def _alarm(estop: Document, lost: object, parts: dict[str, str]) -> str:
    """What comes before all else; empty where there is nothing such."""
    if estop.get("stopped"):
        return f"STOPPED: {estop.get('reason')}"
    if not estop["heard"]:
        return UNKNOWN_STOP
    if isinstance(lost, list) and lost:
        return f"{', '.join(lost)}: silent, its node has ended"
    if any(part_level(state) == "error" for state in parts.values()):
        return _told(parts)
    return ""


def _told(parts: dict[str, str]) -> str:
    return ", ".join(f"{name} {state}" for name, state in parts.items())


def _ill_parts(cell: Document) -> dict[str, str]:
    """Arms and grippers that do not follow, and would not -> their state."""
    states = {}
    for side, arm in _entries(cell, "arms"):
        for kind, entry in (("arm", "status"), ("gripper", "gripper")):
            states[f"{side} {kind}"] = part_state(as_document(as_document(arm)[entry]))
    return {name: state for name, state in states.items() if part_level(state) != "ok"}


def _notes(episode: Document) -> list[str]:
    """Where the episode stands, and what is wrong with its folder."""
    state, number = episode.get("state"), episode.get("episode")
    notes = [f"recording episode {number}"] if state == "recording" else []
    notes += [f"episode {number}: keep or discard it"] if state == "pending" else []
    return notes + ([f"recorder: {episode['trouble']}"] if episode.get("trouble") else [])


def _silences(cell: Document, known: Container[str]) -> list[str]:
    """Streams of which nothing or too little comes; where a monitor runs, it judges them.

    Args:
        cell: as for `headline`.
        known: parts that are told of already.
    """
    arms = {f"{side} arm": as_document(arm)["states"] for side, arm in _entries(cell, "arms")}
    cameras = {f"camera {role}": stream for role, stream in _entries(cell, "cameras")}
    told = []
    for name, entry in {**arms, **cameras}.items():
        stream = as_document(entry)
        if stream["silent"] and name not in known:
            told.append(f"{name} silent")
        elif stream.get("slow"):
            told.append(f"{name} slow: {stream['rate']} Hz")
    return told


def _entries(cell: Document, name: str) -> list[tuple[str, object]]:
    return list(as_document(cell[name]).items())
