"""Rows of foreign columns -> rows of the cell's vectors, and what shows that they are wrong."""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ate_core.errors import ContractError, EpisodeError
from ate_core.layout import Field, Layout, VectorLayout
from ate_core.strict import nearest, require
from training.foreign.mapping import ColumnMapping, FieldSource, Vectors, VectorSource

TURN = 2.0 * math.pi
"""Largest angle that is believed [rad]: what lies beyond is taken for degrees."""
BEYOND = 0.1
"""How far a gripper may lie outside of closed and open, as a share of the range: wear, noise."""
FAR = 0.5
"""Largest median distance of a joint's action from its state [rad]: commands are followed."""
_NUMBERED = re.compile(r"(.+)\[(\d+)\]")


@dataclass(frozen=True, kw_only=True)
class VectorMap:
    """One vector as a linear map of columns, checked against what is there."""

    name: str
    """state or action."""
    layout: VectorLayout
    """What it becomes."""
    columns: tuple[tuple[str, int], ...]
    """Feature and number of each column that is read."""
    labels: tuple[str, ...]
    """What the mapping calls each of them."""
    units: tuple[str, ...]
    """Unit of each of them."""
    weights: NDArray[np.float64]
    """(columns, D)."""
    offset: NDArray[np.float64]
    """(D,)."""

    @property
    def features(self) -> set[str]:
        """Features that are read."""
        return {feature for feature, _ in self.columns}

    def apply(
        self, rows: Mapping[str, NDArray[np.float64]], *, changes: bool = False
    ) -> NDArray[np.float64]:
        """Map (T, width) rows by feature to (T, D) [rad, ratio].

        Args:
            rows: By feature.
            changes: Angles are differences, which may be small in any unit.

        Raises:
            EpisodeError: a value is not finite, or shows another unit or range.
        """
        read = np.stack([rows[feature][:, index] for feature, index in self.columns], axis=1)
        self._check(read, changes)
        mapped: NDArray[np.float64] = read @ self.weights + self.offset
        grippers = list(self.layout.columns("ratio"))
        for column in grippers:
            self._check_gripper(column, mapped[:, column])
        mapped[:, grippers] = np.clip(mapped[:, grippers], 0.0, 1.0)
        return mapped

    def _check(self, read: NDArray[np.float64], changes: bool) -> None:
        if not np.isfinite(read).all():
            row, column = np.argwhere(~np.isfinite(read))[0]
            raise EpisodeError(
                f"{self.name}: {self.labels[column]} is {read[row, column]} in row {row}: remove "
                "the episode"
            )
        largest = np.abs(read).max(axis=0)
        for label, unit, value in zip(self.labels, self.units, largest, strict=True):
            if unit == "rad" and value > TURN:
                raise EpisodeError(
                    f"{self.name}: {label} reaches {value:.4g}, beyond 2 pi, and the mapping "
                    "calls it radians: say unit: deg, or correct its columns"
                )
        degrees = [value for unit, value in zip(self.units, largest, strict=True) if unit == "deg"]
        if degrees and max(degrees) < TURN and not changes:
            raise EpisodeError(
                f"{self.name}: no joint leaves {max(degrees):.4g}, and the mapping calls them "
                "degrees: say unit: rad, or remove the episode"
            )

    def _check_gripper(self, column: int, values: NDArray[np.float64]) -> None:
        low, high = float(values.min()), float(values.max())
        if low < -BEYOND or high > 1.0 + BEYOND:
            raise EpisodeError(
                f"{self.name}: {self.layout.names[column]} goes from {low:.3g} to {high:.3g} of "
                "its range (0 closed, 1 open): correct closed and open in the mapping"
            )


def map_vector(name: str, source: VectorSource, there: Vectors, layout: VectorLayout) -> VectorMap:
    """Check one vector of a mapping against the columns that are there.

    Args:
        name: state or action.
        source: What the mapping says.
        there: Features of the recordings.
        layout: Of the cell's vector.

    Raises:
        ContractError: unknown, doubled or missing columns, fields or sides.
    """
    where = f"mapping: {name}"
    _require_fields(source, layout, where)
    columns: list[tuple[str, int]] = []
    labels: list[str] = []
    units: list[str] = []
    weights: list[NDArray[np.float64]] = []
    offset = np.zeros(layout.size)
    for one in layout.fields:
        own = source.fields[one.name]
        _check_field(one, own, f"{where}.{one.name}")
        start = layout.slice(one.name).start
        for index, label in enumerate(own.columns):
            if label is None:
                continue
            target = start + (index if one.unit == "rad" else 0)
            scale, shift = _scale(own, index, one)
            columns.append(_find(label, source.feature, there, f"{where}.{one.name}"))
            labels.append(label)
            units.append(own.unit)
            weights.append(scale * np.eye(layout.size)[target])
            offset[target] = shift
    _require_once(columns, labels, where)
    return VectorMap(
        name=name,
        layout=layout,
        columns=tuple(columns),
        labels=tuple(labels),
        units=tuple(units),
        weights=np.array(weights),
        offset=offset,
    )


def map_vectors(
    mapping: ColumnMapping, there: Vectors, layout: Layout
) -> tuple[VectorMap, VectorMap | None]:
    """State and action of a mapping; no action where the next state takes its place."""
    wanted = mapping.action_is != "next_state"
    require(
        (mapping.action is not None) == wanted,
        f"mapping: action_is is {mapping.action_is}, and action is "
        f"{'missing: add it' if wanted else 'given: leave it out'}",
    )
    state = map_vector("state", mapping.state, there, layout.state)
    if mapping.action is None:
        require(
            layout.state == layout.action,
            "mapping: action_is is next_state, and the cell's state and action differ: record "
            "actions, or use a cell in which they are alike",
        )
        return state, None
    return state, map_vector("action", mapping.action, there, layout.action)


def require_alike(
    state: NDArray[np.float64], action: NDArray[np.float64], layout: VectorLayout
) -> None:
    """Refuse joints whose commands are not followed: another order, sign or unit.

    Args:
        state: (T, D).
        action: (T, D), absolute.
        layout: Of both.
    """
    distance = np.median(np.abs(action - state), axis=0)
    for column in layout.columns("rad"):
        if distance[column] > FAR:
            raise EpisodeError(
                f"the action of {layout.names[column]} is {distance[column]:.2f} rad from its "
                f"state (median; bound {FAR}): compare order, sign and unit of both in the "
                "mapping, and action_is"
            )


def _require_fields(source: VectorSource, layout: VectorLayout, where: str) -> None:
    known = [one.name for one in layout.fields]
    for name in source.fields:
        require(
            name in known,
            f"{where} has the field {name!r}; the cell's layout has {', '.join(known)}"
            f"{nearest(name, known)}",
        )
    missing = [name for name in known if name not in source.fields]
    require(
        not missing,
        f"{where} lacks {', '.join(missing)}: name their columns, or give --cell a cell without "
        "them",
    )


def _check_field(one: Field, own: FieldSource, where: str) -> None:
    count = len(own.columns)
    if one.unit == "rad":
        require(own.unit in ("rad", "deg"), f"{where}.unit is {own.unit}; need rad or deg")
        require(
            count == one.size,
            f"{where} names {count} columns, the field has {one.size} numbers: name as many, with "
            "null for a joint that the body lacks",
        )
    else:
        require(own.unit == one.unit, f"{where}.unit is {own.unit}; need {one.unit}")
        require(count >= 1 and None not in own.columns, f"{where}.columns is empty: name one")
        require(not own.sign, f"{where}.sign is for joints: swap closed and open instead")
        require(
            own.closed != own.open,
            f"{where}: closed and open are both {own.open:g}; give the two ends of its range",
        )
    require(
        len(own.sign) in (0, count) and set(own.sign) <= {1.0, -1.0},
        f"{where}.sign is {list(own.sign)}; need 1 or -1 for each of {count} columns",
    )


def _scale(own: FieldSource, index: int, one: Field) -> tuple[float, float]:
    """Factor and offset of one column."""
    if one.unit == "rad":
        sign = own.sign[index] if own.sign else 1.0
        return sign * (math.pi / 180.0 if own.unit == "deg" else 1.0), 0.0
    reach = own.open - own.closed
    return 1.0 / (reach * len(own.columns)), -own.closed / reach


def _find(label: str, feature: str, there: Vectors, where: str) -> tuple[str, int]:
    """Feature and number of a column, by its name or as feature[number]."""
    require(
        feature in there,
        f"{where}: the recordings have no feature {feature!r}; they have "
        f"{', '.join(there)}{nearest(feature, there)}",
    )
    if label in there[feature]:
        return feature, there[feature].index(label)
    numbered = _NUMBERED.fullmatch(label)
    if numbered and numbered[1] in there and int(numbered[2]) < len(there[numbered[1]]):
        return numbered[1], int(numbered[2])
    raise ContractError(
        f"{where}: there is no column {label!r} in {feature}; it has "
        f"{', '.join(there[feature])}{nearest(label, there[feature])}"
    )


def _require_once(columns: list[tuple[str, int]], labels: list[str], where: str) -> None:
    for index, column in enumerate(columns):
        first = columns.index(column)
        require(
            first == index,
            f"{where} names the column {labels[index]!r} twice: each belongs to one number",
        )
