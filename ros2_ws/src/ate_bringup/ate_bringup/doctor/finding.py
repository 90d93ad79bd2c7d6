"""What a check says, and what it is told."""

from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from ate_core.contract import Cell, Hardware, load_cell

Status = Literal["pass", "warn", "fail"]


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One thing that was looked at."""

    status: Status
    """pass: as it must be; warn: it works, with a loss; fail: do not start before it is mended."""
    what: str
    """What was looked at, for instance ``left arm``."""
    value: str = ""
    """What was found."""
    bound: str = ""
    """What is needed."""
    remedy: str = ""
    """What to do."""

    @property
    def text(self) -> str:
        """One line: what, the value, the bound and the remedy."""
        bound = f" (need {self.bound})" if self.bound else ""
        value = f"{self.value}{bound}"
        line = f"{self.what}: {value}" if value else self.what
        return f"{line}: {self.remedy}" if self.remedy else line


def passed(what: str, value: str = "") -> Finding:
    """A finding that is as it must be."""
    return Finding(status="pass", what=what, value=value)


def warned(what: str, value: str, remedy: str, bound: str = "") -> Finding:
    """A finding that costs something."""
    return Finding(status="warn", what=what, value=value, remedy=remedy, bound=bound)


def failed(what: str, value: str, remedy: str, bound: str = "") -> Finding:
    """A finding that must be mended first."""
    return Finding(status="fail", what=what, value=value, remedy=remedy, bound=bound)


@dataclass(frozen=True, kw_only=True)
class Patient:
    """What is looked at."""

    cell_name: str | None = None
    """Cell file or packaged name; None: the packaged cell."""
    hardware: Hardware = "real"
    """Which body of the cell is looked at."""
    checkpoint: Path | None = None
    """Checkpoint that shall drive the cell."""
    output: Path = field(default_factory=Path.cwd)
    """Folder that episodes are written to."""
    starts_devices: bool = False
    """Whether a launch is about to start drivers, and for sim the emulators."""
    plays_headsets: bool = False
    """Whether a launch is about to emulate the operators' headsets."""

    @cached_property
    def cell(self) -> Cell:
        """The cell; refused cells raise, with the reason.

        Raises:
            ContractError: the file is wrong.
        """
        return load_cell(self.cell_name, self.hardware)


@dataclass(frozen=True, kw_only=True)
class Check:
    """One subject that is looked at."""

    name: str
    """Name in the report, for instance ``disk``."""
    group: str
    """Heading in the report."""
    look: Callable[[Patient], Iterable[Finding]]
    """Yields what it found; may raise."""
    limit: float = 5.0
    """Time after which it counts as hung [s]."""
    is_static: bool = True
    """Whether it reads files only; a live one looks at this machine and at devices."""
    before_launch: bool = False
    """Whether a launch asks it: quick, and opens nothing that a driver will open."""
    needs_cell: bool = True
    """Whether it reads the cell file, so that it says nothing where the file is refused."""


@dataclass(frozen=True, kw_only=True)
class CheckResult:
    """What one check found."""

    check: str
    """Its name."""
    group: str
    """Its heading."""
    findings: tuple[Finding, ...]
    """What it found, in order."""
    seconds: float
    """Time it took [s]."""

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)
