"""`ate validate`: what a path holds, and every place where it breaks its specification."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated

import tyro

from ate_core.errors import UsageError
from training.data.lerobot_index import INFO
from training.tasks.choose import WorkConfig
from training.tasks.engine import Engine
from training.validate.bag_checks import check_bag
from training.validate.file_checks import check_file
from training.validate.lerobot_checks import check_lerobot
from training.validate.specification import KINDS, Violation, broken

CHECKS = {"bag": check_bag, "hdf5": check_file, "lerobot": check_lerobot}
"""Kind -> its check."""
HDF5 = frozenset({".hdf5", ".h5"})


@dataclass(frozen=True, kw_only=True)
class ValidateConfig:
    """Check bags, HDF5 episodes and LeRobot sets against docs/specification.md.

    Every violation is printed with its rule, what was found, what must be and what helps. The
    exit code is 1 where there is one.
    """

    paths: tyro.conf.Positional[tuple[Path, ...]]
    """Bags, HDF5 files, LeRobot sets, or folders of them."""
    work: Annotated[WorkConfig, tyro.conf.arg(name="")] = field(default_factory=WorkConfig)
    """Where, and how many at the same time."""
    json: bool = False
    """Print what was looked at and all violations as JSON."""

    def __post_init__(self) -> None:
        if not self.paths:
            raise UsageError("no path is given; name bags, HDF5 files or LeRobot sets")


@dataclass(frozen=True, kw_only=True)
class Checked:
    """One thing that was looked at."""

    path: str
    """Where it is."""
    kind: str
    """Entry of `KINDS`."""
    violations: tuple[Violation, ...] = ()
    """What is wrong; empty for a sound one."""


def validate(config: ValidateConfig) -> int:
    """Check all, print, and return 1 where anything is wrong."""
    checked = check_all(config.paths, config.work)
    if config.json:
        print(json.dumps([asdict(one) for one in checked], indent=2))
    else:
        for one in checked:
            number = len(one.violations)
            verdict = "sound" if not number else f"{number} violation{'s' * (number > 1)}"
            print(f"{one.path}: {KINDS[one.kind].split(':')[0]}: {verdict}")
            for violation in one.violations:
                print(f"  {violation}")
    return 1 if any(one.violations for one in checked) else 0


def check_all(paths: tuple[Path, ...], engine: Engine) -> list[Checked]:
    """Check what paths hold, in their order; whatever one of them does, the others go on."""
    items = [item for path in paths for item in _items(path)]
    order = {path: number for number, (path, _) in enumerate(items)}
    checked = []
    for done in engine.run(check_one, items):
        path, kind = done.item
        if done.result is None:
            why = (broken(path, "X2", done.failure, "a file that can be read"),)
            checked.append(Checked(path=str(path), kind=kind, violations=why))
        else:
            checked.append(done.result)
    return sorted(checked, key=lambda one: order[Path(one.path)])


def check_one(item: tuple[Path, str]) -> Checked:
    """Check one path of a kind; whatever is in it ends in violations."""
    path, kind = item
    violations: list[Violation] = []
    if kind == "unknown":
        violations.append(broken(path, "X1", _what(path), "a bag, an HDF5 file or a LeRobot set"))
    else:
        try:
            violations.extend(CHECKS[kind](path))
        except Exception as error:  # of bytes of strangers: each reader raises what it likes
            violations.append(broken(path, "X2", f"{type(error).__name__}: {error}", "readable"))
    return Checked(path=str(path), kind=kind, violations=tuple(violations))


def _items(path: Path) -> Iterator[tuple[Path, str]]:
    """What a path holds: itself, or what lies in a folder of them."""
    kind = kind_of(path)
    if kind != "unknown" or not path.is_dir():
        yield path, kind
        return
    visible = [one for one in sorted(path.iterdir()) if not one.name.startswith(".")]
    inside = [(one, kind_of(one)) for one in visible]
    known = [(one, kind) for one, kind in inside if kind != "unknown"]
    yield from known or [(path, "unknown")]


def kind_of(path: Path) -> str:
    """Which kind a path is of, by its name and what lies in it: an entry of `KINDS`."""
    if path.is_dir():
        if (path / INFO).is_file():
            return "lerobot"
        is_bag = any(path.glob("*.mcap")) or (path / "metadata.yaml").is_file()
        return "bag" if is_bag else "unknown"
    return "hdf5" if path.suffix in HDF5 else "unknown"


def _what(path: Path) -> str:
    if not path.exists():
        return "nothing is there"
    return "a folder with none of them" if path.is_dir() else f"a {path.suffix or 'plain'} file"
