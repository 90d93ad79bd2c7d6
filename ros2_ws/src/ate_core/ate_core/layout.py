"""Named fields and the flat vectors that files, policies and commands exchange."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated

import numpy as np
from numpy.typing import NDArray

from ate_core.entry_checks import Range
from ate_core.errors import LayoutError


@dataclass(frozen=True, kw_only=True)
class Field:
    """One named block of a vector."""

    name: str
    """Unique name, for instance ``left_arm``."""
    unit: str
    """Unit of every component, for instance ``rad`` or ``ratio``."""
    size: Annotated[int, Range(1, 64)]
    """Number of components."""


@dataclass(frozen=True, kw_only=True)
class VectorLayout:
    """Order, names and units of one flat vector."""

    fields: tuple[Field, ...]
    """The blocks in order; left before right."""

    def __post_init__(self) -> None:
        names = [field.name for field in self.fields]
        if len(set(names)) != len(names):
            raise LayoutError(f"layout fields {names} are not unique: give each its own name")
        for field in self.fields:
            if field.size < 1:
                raise LayoutError(f"layout field {field.name!r} has size {field.size}; need >= 1")

    @property
    def size(self) -> int:
        """Number of components of the whole vector."""
        return sum(field.size for field in self.fields)

    @property
    def names(self) -> tuple[str, ...]:
        """One name per component: ``left_arm_1`` ... or the field's own name when it is scalar."""
        return tuple(
            field.name if field.size == 1 else f"{field.name}_{index + 1}"
            for field in self.fields
            for index in range(field.size)
        )

    @property
    def units(self) -> tuple[str, ...]:
        """One unit per component."""
        return tuple(field.unit for field in self.fields for _ in range(field.size))

    def columns(self, unit: str) -> tuple[int, ...]:
        """Components with a unit, for instance the joints ("rad") or the grippers ("ratio")."""
        return tuple(index for index, own in enumerate(self.units) if own == unit)

    def slice(self, name: str) -> slice:
        """Where a field lies in the vector.

        Raises:
            LayoutError: the layout has no such field.
        """
        start = 0
        for field in self.fields:
            if field.name == name:
                return slice(start, start + field.size)
            start += field.size
        known = ", ".join(field.name for field in self.fields)
        raise LayoutError(f"layout has no field {name!r}; it has {known}")

    def pack(self, values: Mapping[str, object]) -> NDArray[np.float64]:
        """Join named blocks, one per field, into one vector of ``size`` components."""
        unknown = set(values) - {field.name for field in self.fields}
        if unknown:
            raise LayoutError(f"layout has no field {sorted(unknown)[0]!r}: remove it")
        vector = np.empty(self.size)
        for field in self.fields:
            if field.name not in values:
                raise LayoutError(f"field {field.name!r} is missing: give {field.size} numbers")
            block = np.atleast_1d(np.asarray(values[field.name], dtype=np.float64))
            if block.shape != (field.size,):
                raise LayoutError(
                    f"field {field.name!r} has shape {block.shape}, needs ({field.size},)"
                )
            vector[self.slice(field.name)] = block
        return vector

    def unpack(self, vector: NDArray[np.floating]) -> dict[str, NDArray[np.floating]]:
        """Split the last axis of ``vector`` (..., size) into named blocks (..., field size)."""
        if vector.shape[-1] != self.size:
            raise LayoutError(f"vector has {vector.shape[-1]} components, layout has {self.size}")
        return {field.name: vector[..., self.slice(field.name)] for field in self.fields}


@dataclass(frozen=True, kw_only=True)
class Layout:
    """What data, checkpoints and the live cell must share."""

    state: VectorLayout
    """Measured vector, one per tick."""
    action: VectorLayout
    """Commanded vector, one per tick."""
    cameras: tuple[str, ...]
    """Image keys, for instance ``cam_high``."""
    tick_rate: float
    """Ticks per second [Hz]."""

    def as_dict(self) -> dict[str, object]:
        """Plain, ordered values; the text that is hashed."""
        return {
            "state": [[f.name, f.unit, f.size] for f in self.state.fields],
            "action": [[f.name, f.unit, f.size] for f in self.action.fields],
            "cameras": list(self.cameras),
            "tick_rate": self.tick_rate,
        }

    @property
    def sha256(self) -> str:
        """Hash of the canonical text of this layout."""
        text = json.dumps(self.as_dict(), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()

    def differences(self, other: "Layout") -> list[str]:
        """One line for each entry in which ``other`` differs from this layout."""
        lines = []
        for part in ("state", "action"):
            ours: VectorLayout = getattr(self, part)
            theirs: VectorLayout = getattr(other, part)
            for index in range(max(len(ours.fields), len(theirs.fields))):
                a = ours.fields[index] if index < len(ours.fields) else None
                b = theirs.fields[index] if index < len(theirs.fields) else None
                if a != b:
                    lines.append(f"{part} field {index}: {_describe(a)} against {_describe(b)}")
        if self.cameras != other.cameras:
            lines.append(f"cameras: {list(self.cameras)} against {list(other.cameras)}")
        if self.tick_rate != other.tick_rate:
            lines.append(f"tick_rate: {self.tick_rate} Hz against {other.tick_rate} Hz")
        return lines

    def require(self, other: "Layout", what: str) -> None:
        """Refuse ``other``, named ``what``, unless it has this layout.

        Raises:
            LayoutError: naming each differing field.
        """
        lines = self.differences(other)
        if lines:
            raise LayoutError(f"{what} has another layout than this cell: " + "; ".join(lines))


def _describe(field: Field | None) -> str:
    return "nothing" if field is None else f"{field.name} [{field.unit}] x {field.size}"
