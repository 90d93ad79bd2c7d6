"""What a launch consists of: arguments, and processes described without any launch library."""

import difflib
import os
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from ate_core.errors import LARGEST_SEED, UsageError
from ate_core.ros_words import parameter_words


@dataclass(frozen=True, kw_only=True)
class LaunchArgument:
    """One ``name:=value`` of a launch."""

    name: str
    """Name on the command line."""
    default: str | None
    """Value when it is not given; None: it must be given."""
    description: str
    """One line for people."""
    choices: tuple[str, ...] = ()
    """Values allowed; empty: any."""
    gone: tuple[tuple[str, str], ...] = ()
    """Values of before, each with the one to give instead."""
    is_count: bool = False
    """Whether the value is a whole number of 0 or more."""
    largest: int = LARGEST_SEED
    """Largest such number."""
    is_share: bool = False
    """Whether the value is a number from 0 to 1, or empty."""

    def check(self, value: str) -> None:
        """Refuse a value that is not allowed.

        Raises:
            UsageError: naming the argument, the value and what is allowed.
        """
        if self.choices and value not in self.choices:
            allowed = dict(self.gone).get(value) or f"one of {', '.join(self.choices)}"
        elif self.is_count and not _is_count(value, self.largest):
            allowed = f"a whole number from 0 to {self.largest}"
        elif self.default and not value:
            allowed = f"a value, or leave it out: that is {self.name}:={self.default}"
        elif self.is_share and value and not _is_share(value):
            allowed = "a number from 0 to 1"
        else:
            return
        raise UsageError(f"{self.name}:={value} is not allowed; need {allowed}")


@dataclass(frozen=True, kw_only=True)
class Need:
    """What arguments of a launch say nothing without."""

    names: tuple[str, ...]
    """The arguments."""
    words: tuple[str, ...]
    """``name:=value``; one of them is enough. A number stands for all above 0."""
    instead: str = ""
    """What to do where they say nothing, for people."""

    def check(self, values: Mapping[str, str], defaults: Mapping[str, str | None]) -> None:
        """Refuse an argument that would be ignored.

        Args:
            values: of all arguments.
            defaults: of all arguments; who gives the default has given nothing.

        Raises:
            UsageError: naming the argument and what to give beside it.
        """
        if any(_holds(word, values) for word in self.words):
            return
        for name in self.names:
            if values[name] != defaults[name]:
                instead = self.instead or "give both or neither"
                raise UsageError(
                    f"{name}:={values[name]} says nothing without {' or '.join(self.words)}: "
                    f"{instead}"
                )


def _holds(word: str, values: Mapping[str, str]) -> bool:
    name, wanted = word.split(":=")
    return int(values[name]) > 0 if wanted.isdecimal() else values[name] == wanted


def flag(name: str, description: str, *, default: bool = False) -> LaunchArgument:
    """An argument that is true or false; `is_on` reads it."""
    values = ("true", "false")
    return LaunchArgument(
        name=name, default=values[not default], description=description, choices=values
    )


def is_on(values: Mapping[str, str], name: str, default: bool = False) -> bool:
    """Whether a flag among resolved arguments is true; the default where a launch has none."""
    return values.get(name, str(default).lower()) == "true"


def _is_count(value: str, largest: int) -> bool:
    return value.isdecimal() and len(value) <= len(str(largest)) and int(value) <= largest


def _is_share(value: str) -> bool:
    try:
        return 0.0 <= float(value) <= 1.0
    except ValueError:
        return False


@dataclass(frozen=True, kw_only=True)
class ProcessSpec:
    """One process of a launch."""

    name: str
    """Unique name within the launch; the node name of a ROS node."""
    module: str
    """Module that runs it: ``python -m module``."""
    is_node: bool = True
    """A ROS node takes parameters; a plain process takes arguments only."""
    is_installed: bool = False
    """``package.executable`` of an installed ROS package instead of a module of ours."""
    namespace: str = ""
    """ROS namespace of a node."""
    parameters: Mapping[str, str | bool | int] = field(default_factory=dict)
    """Parameters of a node."""
    remappings: Mapping[str, str] = field(default_factory=dict)
    """Name within the node -> name of the topic."""
    arguments: tuple[str, ...] = ()
    """Words of the command line."""
    environment: Mapping[str, str] = field(default_factory=dict)
    """Variables set for this process on top of the launch's own."""
    respawn: bool = False
    """Start it again when it ends: where a new start moves nothing."""
    loss: str = ""
    """What the cell lacks while it does not run, for people."""
    is_optional: bool = False
    """Whether the cell counts as ready without it."""
    heartbeat: str = ""
    """Name of its line in ``/diagnostics``, behind which further ones have a space or a colon;
    empty: it sends none."""
    patience: float = 0.0
    """Silence of the heartbeat that its work may explain [s]; 0: that of any node."""
    ends_launch: bool = False
    """The launch stops when this process ends."""
    finishes: bool = False
    """Whether it ends by itself once its work is done; others end only when they are told to."""

    @property
    def label(self) -> str:
        """Name of the process within the launch, for people."""
        return f"{self.namespace.strip('/')}_{self.name}".strip("_").lower()

    @property
    def full_name(self) -> str:
        """Fully qualified name of a node."""
        return f"{self.namespace.rstrip('/')}/{self.name}"

    @property
    def package(self) -> str:
        """Package that installs the executable of a node."""
        return self.module.split(".", 1)[0]

    @property
    def executable(self) -> str:
        """Executable of a node, named as its module."""
        return self.module.rsplit(".", 1)[1]

    def command(self) -> list[str]:
        """Command line that starts the process with this interpreter."""
        start = [sys.executable, "-m", self.module, *self.arguments]
        if self.is_installed:
            program = find_executable(self.package, self.executable)
            start = [str(program or self.executable), *self.arguments]
        if not self.is_node:
            return start
        start += ["--ros-args", "-r", f"__node:={self.name}"]
        if self.namespace:
            start += ["-r", f"__ns:={self.namespace}"]
        for inner, outer in self.remappings.items():
            start += ["-r", f"{inner}:={outer}"]
        return [*start, *parameter_words(self.parameters)]


def find_executable(package: str, executable: str) -> Path | None:
    """Where a sourced ROS installation has an executable; None where it has not."""
    for prefix in os.environ.get("AMENT_PREFIX_PATH", "").split(os.pathsep):
        program = Path(prefix) / "lib" / package / executable
        if prefix and program.is_file():
            return program
    return None


@dataclass(frozen=True, kw_only=True)
class Launch:
    """A named list of processes that depends on arguments."""

    name: str
    """Name of the launch, for instance ``dual_operator``."""
    package: str
    """Package whose launch folder holds the file; empty: the folder ``launch/`` on top."""
    description: str
    """One line for people."""
    arguments: tuple[LaunchArgument, ...]
    """What can be given."""
    make_processes: Callable[[Mapping[str, str]], list[ProcessSpec]]
    """From resolved arguments to processes."""
    needs: tuple[Need, ...] = ()
    """What would be ignored, and is refused."""
    has_devices: bool = True
    """Whether it starts the devices of a cell, for ``hardware:=sim`` their emulators."""

    @property
    def file(self) -> str:
        """Name of the launch file."""
        return f"{self.name}.launch.py"

    def refuse_unknown(self, names: Iterable[str]) -> None:
        """Refuse a name that no argument has.

        Raises:
            UsageError: naming it, and what there is.
        """
        known = [argument.name for argument in self.arguments]
        for name in names:
            if name not in known:
                close = difflib.get_close_matches(name, known, n=1)
                hint = f"; did you mean {close[0]}?" if close else ""
                raise UsageError(
                    f"{self.file} has no argument {name!r}; it has {', '.join(known)}{hint}"
                )

    def resolve(self, given: Mapping[str, str]) -> dict[str, str]:
        """Given values over defaults.

        Raises:
            UsageError: unknown name, value not allowed, required value missing, or one that
                would be ignored.
        """
        known = {argument.name: argument for argument in self.arguments}
        self.refuse_unknown(given)
        values = {}
        for name, argument in known.items():
            value = given.get(name, argument.default)
            if value is None or (not value and argument.default is None):
                raise UsageError(f"{self.file} needs {name}:=... ({argument.description})")
            argument.check(value)
            values[name] = value
        defaults = {name: argument.default for name, argument in known.items()}
        for need in self.needs:
            need.check(values, defaults)
        return values

    def processes(self, given: Mapping[str, str]) -> list[ProcessSpec]:
        """The processes for the given arguments, with unique names."""
        specs = self.make_processes(self.resolve(given))
        names = [f"{spec.namespace}/{spec.name}" for spec in specs]
        if len(set(names)) != len(names):
            raise UsageError(f"{self.file} names two processes alike: {sorted(names)}")
        return specs
