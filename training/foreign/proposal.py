"""A mapping file proposed from the names of columns, and from what one episode holds."""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from ate_core.contract import Cell
from ate_core.errors import AteError, EpisodeError
from ate_core.layout import Field
from training.data.column_mapping import FINGERS
from training.foreign.mapping import ActionMeaning, ColumnMapping, VectorSource
from training.foreign.recordings import Recordings
from training.foreign.vectors import BEYOND, FAR, TURN

STATES = ("observation.state", "observations/qpos", "observation/state", "state", "qpos")
ACTIONS = ("action", "actions", "joint_action/vector")
SAMPLED = 5
"""Episodes looked at for the ends of the grippers."""
_SIDES = {"left": r"left|(^|[^a-z])l([^a-z]|$)", "right": r"right|(^|[^a-z])r([^a-z]|$)"}
_HAND = re.compile(r"hand|grip|finger|thumb|claw")
_PLAIN = re.compile(r"[A-Za-z][\w./-]*|0|[1-9][0-9]*")
_WORDS = ("y", "n", "yes", "no", "on", "off", "true", "false", "null")
_VIEWS = {"high": ("high", "top", "head", "overhead", "front", "ext"), "wrist": ("wrist", "hand")}


@dataclass
class Proposal:
    """The text of a mapping file, and what a person must look at."""

    lines: list[str] = field(default_factory=list)
    """Of the file."""
    doubts: list[str] = field(default_factory=list)
    """What was guessed or not found."""

    @property
    def text(self) -> str:
        """The file, its doubts first."""
        head = ["# Whose columns are which of the cell's fields. Check before you import:"]
        always = "signs, zero postures and joint orders cannot be read from names"
        return "\n".join(
            [*head, *(f"# - {one}" for one in [*self.doubts, always]), *self.lines, ""]
        )


def propose(recordings: Recordings, cell: Cell) -> Proposal:
    """Propose a mapping of recordings to the layout of a cell."""
    made = Proposal()
    state = _feature(recordings, STATES)
    action = _feature(recordings, ACTIONS)
    if state is None:
        raise EpisodeError(
            f"none of the features {', '.join(recordings.vectors)} is known as a state: write the "
            "mapping by hand (docs/foreign_data.md)"
        )
    rate = recordings.rate or 50.0
    samples = _samples(recordings, [one for one in (state, action) if one], rate)
    meaning = _meaning(samples, state, action, made)
    made.lines += [f"body: {_yaml(recordings.body)}"]
    if recordings.rate is None:
        made.lines.append(f"rate: {rate:g}")
        made.doubts.append(f"rate: the files do not say it; {rate:g} Hz is ALOHA's")
    made.lines.append(f"action_is: {meaning}")
    for name, feature in (("state", state), ("action", action)):
        if feature is not None and (name == "state" or meaning != "next_state"):
            fields = getattr(cell.layout, name).fields
            _vector(made, name, feature, recordings, fields, samples)
    _cameras(made, recordings.cameras, cell.layout.cameras)
    return made


def _yaml(value: object) -> str:
    """A value on one line of YAML; a text in quotes only where it needs them."""
    if isinstance(value, list):
        return f"[{', '.join(map(_yaml, value))}]"
    if isinstance(value, str) and _PLAIN.fullmatch(value) and value.lower() not in _WORDS:
        return value
    return json.dumps(value)


def _feature(recordings: Recordings, known: Sequence[str]) -> str | None:
    return next((name for name in known if name in recordings.vectors), None)


def _samples(
    recordings: Recordings, features: list[str], rate: float
) -> dict[str, NDArray[np.float64]]:
    """Rows of the first sound episodes, by feature."""
    nothing = VectorSource(feature="", fields={})
    mapping = ColumnMapping(
        body="",
        action_is="target",
        state=nothing,
        rate=None if recordings.rate else rate,
    )
    rows: list[dict[str, NDArray[np.float64]]] = []
    reason = "there are none"
    for index in range(len(recordings.names())):
        if len(rows) == SAMPLED:
            break
        try:
            rows.append(dict(recordings.read(index, mapping, set(features)).rows))
        except AteError as error:
            reason = str(error)
    if not rows:
        raise EpisodeError(f"no episode can be read, the last because: {reason}")
    return {name: np.concatenate([one[name] for one in rows]) for name in features}


def _meaning(
    samples: dict[str, NDArray[np.float64]], state: str, action: str | None, made: Proposal
) -> ActionMeaning:
    """What actions mean, by their distance from the states."""
    if action is None:
        made.doubts.append("action_is: there are no actions; the next state takes their place")
        return "next_state"
    states, actions = samples[state], samples[action]
    if states.shape != actions.shape:
        made.doubts.append("action_is: state and action are of unequal width; check it")
        return "target"
    if np.array_equal(states, actions):
        made.doubts.append("action_is: actions equal the states; the next state takes their place")
        return "next_state"
    apart = float(np.median(np.abs(actions - states)))
    step = float(np.median(np.abs(actions - np.diff(states, axis=0, append=states[-1:]))))
    if step < apart and apart > FAR / 10:
        made.doubts.append("action_is: actions are nearer to the change of the state than to it")
        return "change"
    return "target"


def _vector(
    made: Proposal,
    name: str,
    feature: str,
    recordings: Recordings,
    fields: Sequence[Field],
    samples: dict[str, NDArray[np.float64]],
) -> None:
    names = recordings.vectors[feature]
    made.lines += [f"{name}:", f"  feature: {_yaml(feature)}", "  fields:"]
    for one in fields:
        columns = _columns(names, one, fields)
        found = [column for column in columns if column is not None]
        if not found:
            made.doubts.append(f"{name}.{one.name}: no columns found in {feature}; name them")
        elif None in columns:
            made.doubts.append(
                f"{name}.{one.name}: the body has {len(found)} of {one.size} joints"
            )
        values = samples[feature][:, [names.index(column) for column in found]]
        entries = {"columns": columns, **_units(made, f"{name}.{one.name}", one, values)}
        text = ", ".join(f"{key}: {_yaml(value)}" for key, value in entries.items())
        made.lines.append(f"    {one.name}: {{{text}}}")


def _columns(names: Sequence[str], one: Field, fields: Sequence[Field]) -> list[str | None]:
    """Columns of a field: by side and kind, or by place where they have no names."""
    side = next((side for side in _SIDES if one.name.startswith(side)), None)
    if side is None:
        return []
    if all(name.isdigit() for name in names):
        return _by_place(names, one, fields)
    mine = [name for name in names if re.search(_SIDES[side], name.lower())]
    hand = [name for name in mine if _HAND.search(name.lower())]
    if one.unit == "ratio":
        grips = [name for name in hand if "grip" in name.lower()]
        return list(grips or [name for name in hand if name.endswith(FINGERS)] or hand)
    joints: list[str | None] = [name for name in mine if name not in hand]
    missing = one.size - len(joints)
    return joints + [None] * missing if missing in (0, 1) else []


def _by_place(names: Sequence[str], one: Field, fields: Sequence[Field]) -> list[str | None]:
    """Joints and gripper of the left arm, then of the right one: ALOHA's and our order."""
    sides = [name for name in _SIDES if any(f.name.startswith(name) for f in fields)]
    width, rest = divmod(len(names), len(sides))
    start = width * sides.index(next(side for side in sides if one.name.startswith(side)))
    if one.unit == "ratio":
        return [names[start + width - 1]] if not rest else []
    missing = one.size - (width - 1)
    joints: list[str | None] = list(names[start : start + width - 1])
    return joints + [None] * missing if not rest and missing in (0, 1) else []


def _units(
    made: Proposal, where: str, one: Field, values: NDArray[np.float64]
) -> dict[str, str | float]:
    """Unit of a field, and the ends of a gripper, by the values of its columns."""
    if one.unit != "ratio":
        return {"unit": "deg" if values.size and np.abs(values).max() > TURN else "rad"}
    low, high = (0.0, 1.0)
    if values.size:
        mean = values.mean(axis=1)
        low, high = float(mean.min()), float(mean.max())
    if low >= -BEYOND and high <= 1.0 + BEYOND:
        low, high = 0.0, 1.0
    made.doubts.append(f"{where}: which end is open is a guess (closed {low:g}, open {high:g})")
    return {"unit": "ratio", "closed": low, "open": high}


def _cameras(made: Proposal, features: Sequence[str], keys: Sequence[str]) -> None:
    found = {key: match for key in keys if (match := _camera(key, features)) is not None}
    made.doubts += [f"cameras: {key} has no images" for key in keys if key not in found]
    made.doubts += [
        f"cameras: {feature} belongs to no camera of the cell"
        for feature in features
        if feature not in found.values()
    ]
    if found:
        made.lines.append("cameras:")
    made.lines += [
        f"  {key}: {{feature: {_yaml(feature)}, colour: rgb}}" for key, feature in found.items()
    ]


def _camera(key: str, features: Sequence[str]) -> str | None:
    """The feature whose name holds the camera's key, else all its words."""
    for feature in features:
        if re.split(r"[./]", feature)[-1] == key or f"/{key}/" in f"/{feature}/":
            return feature
    words = [word for word in key.lower().split("_") if word not in ("cam", "camera")]
    for feature in features:
        name = feature.lower()
        if all(any(view in name for view in _VIEWS.get(word, (word,))) for word in words):
            return feature
    return None
