"""What `ate doctor` finds, and how a device's package looks at its device in a process of its own.

A vendor's library may hang for ever or end its process, so the doctor never loads one. The
package of a device offers the module ``probe``, run as ``python -m <package>.probe --name left``;
it prints one finding per line as JSON.
"""

import argparse
import json
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Literal

from ate_core.contract import Cell, load_cell
from ate_core.errors import AteError

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


Look = Callable[[Cell, str], Iterable[Finding]]
"""Looks at the device of a cell with this name (side or role)."""


def probe_main(look: Look, what: str, words: Sequence[str] | None = None) -> int:
    """Look at one device and print what is found, one JSON object per line.

    Args:
        look: yields findings; what it raises becomes a failed one.
        what: the device in words, behind its side or role.
        words: of the command line.
    """
    parser = argparse.ArgumentParser(description="Look at one device for `ate doctor`.")
    parser.add_argument("--name", required=True, help="side or role in the cell file")
    parser.add_argument("--cell", default=None, help="cell file or packaged name")
    parser.add_argument("--hardware", choices=("real", "sim"), default="real")
    options = parser.parse_args(words)
    try:
        for finding in look(load_cell(options.cell, options.hardware), options.name):
            _print(finding)
    except (AteError, OSError) as error:
        _print(failed(f"{options.name} {what}", str(error), ""))
    return 0


def _print(finding: Finding) -> None:
    sys.stdout.write(json.dumps(asdict(finding)) + "\n")
    sys.stdout.flush()
