"""The cell, described once: ``cell.yaml`` parsed into frozen dataclasses.

Drivers, teleoperation, recorder, converter, trainer and policy read this and nothing else.
The section ``simulation`` of the file holds the addresses of the emulated devices; it is laid
over the rest for ``hardware="sim"``, so one file describes both bodies of one cell.
"""

import copy
import dataclasses
import functools
import hashlib
import importlib.resources
import logging
import os
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml

from ate_core.camera_config import (
    CameraConfig,
    check_backends,
    check_camera_names,
    check_camera_streams,
    check_simulated_cameras,
)
from ate_core.cell_arms import settle_arms, translate_elbow
from ate_core.cell_checks import LOADED_CHECKS, cell_problems
from ate_core.device_names import unstable_names
from ate_core.devices import ArmConfig, GripperConfig, OperatorConfig
from ate_core.devices import Side as Side  # most meet it here, beside SIDES
from ate_core.drivers import GRIPPER_TRANSPORTS
from ate_core.entry_checks import JointSpeed, PlainName, Range
from ate_core.errors import AteError, ContractError
from ate_core.guard_config import GuardConfig, Obstacle, packaged_obstacles
from ate_core.layout import Field, Layout, VectorLayout
from ate_core.strict import build, merge, raise_first, require, shown
from ate_core.topics import Topics
from ate_core.unique_checks import UNIQUE_CHECKS
from ate_core.yaml_text import read_text, read_yaml
from ate_description import gripper_names

LOG = logging.getLogger(__name__)

Hardware = Literal["real", "sim"]
SIDES: tuple[Side, Side] = ("left", "right")
TICK_RATES = (5.0, 60.0)
"""Slowest and fastest tick [Hz]: policies and drivers were tried in this range."""
MORE = "`ate doctor --cell` lists all"
"""Where the problems beyond the first stand."""
RUNTIME_VARIABLE = "ATE_RUNTIME_DIR"
"""Environment variable that moves the runtime folder of a simulated cell."""


@dataclass(frozen=True, kw_only=True)
class SafetyConfig:
    """Limits of the safety filter, the last stage before the wire."""

    command_timeout: Annotated[float, Range(0.02, 0.5, "s")] = 0.1
    """Silence of the commander after which the arm holds [s]."""
    feedback_timeout: Annotated[float, Range(0.02, 0.5, "s")] = 0.1
    """Age of the measured joints above which the arm holds [s]."""
    stamp_max_age: Annotated[float, Range(0.02, 0.5, "s")] = 0.1
    """Age of a command's stamp above which it is dropped [s]."""
    position_margin: Annotated[float, Range(0.001, 0.3, "rad")] = 0.02
    """Distance kept from every joint limit [rad]."""
    max_joint_speed: JointSpeed = 2.0
    """Largest joint speed ever commanded [rad/s]."""
    max_joint_acceleration: Annotated[float, Range(0.5, 50.0, "rad/s^2")] = 15.0
    """Largest joint acceleration ever commanded [rad/s^2]."""
    max_joint_jerk: Annotated[float, Range(50.0, 10000.0, "rad/s^3")] = 800.0
    """Largest change of the joint acceleration ever commanded [rad/s^3]. With 15 rad/s^2 a joint
    brakes from 2 rad/s in 0.15 s, and follows commands as closely as without a bound."""
    max_step: Annotated[float, Range(0.01, 1.0, "rad")] = 0.35
    """Largest distance of a target from the present setpoint; a larger one is refused [rad]."""

    def __post_init__(self) -> None:
        for item in dataclasses.fields(self):
            value = getattr(self, item.name)
            require(value > 0, f"safety.{item.name} is {value}; need > 0")


@dataclass(frozen=True, kw_only=True)
class RatesConfig:
    """Fixed rates of the control loops [Hz]."""

    arm_stream: Annotated[float, Range(20.0, 1000.0, "Hz")] = 100.0
    """Joint targets sent to a controller."""
    arm_state: Annotated[float, Range(10.0, 1000.0, "Hz")] = 100.0
    """Joint states published."""
    gripper: Annotated[float, Range(5.0, 100.0, "Hz")] = 50.0
    """Gripper poll."""
    teleop: Annotated[float, Range(20.0, 250.0, "Hz")] = 90.0
    """Retargeting and inverse kinematics."""

    def __post_init__(self) -> None:
        for item in dataclasses.fields(self):
            value = getattr(self, item.name)
            require(value > 0, f"rates.{item.name} is {value} Hz; need > 0")


@dataclass(frozen=True, kw_only=True)
class LayoutConfig:
    """Named fields of the two vectors, in order."""

    state: tuple[Field, ...]
    """Measured."""
    action: tuple[Field, ...]
    """Commanded."""


@dataclass(frozen=True, kw_only=True)
class Cell:
    """The whole cell, or another robot with one or two arms whose episodes are trained on."""

    name: Annotated[str, PlainName()]
    """Name of the cell."""
    hardware: Hardware = "real"
    """Real devices or emulated ones."""
    tick_rate: Annotated[float, Range(*TICK_RATES, "Hz")]
    """Rate of episodes and policies [Hz]."""
    arms: dict[str, ArmConfig]
    """Arms by side."""
    grippers: dict[str, GripperConfig]
    """Grippers by side."""
    cameras: dict[str, CameraConfig]
    """Cameras by role."""
    operators: dict[str, OperatorConfig]
    """Operators by the side they drive."""
    vectors: LayoutConfig
    """Layout of state and action."""
    safety: SafetyConfig = field(default_factory=SafetyConfig)
    """Limits of the safety filter."""
    guard: GuardConfig = field(default_factory=GuardConfig)
    """Distances that the arms keep."""
    obstacles: dict[str, Obstacle] = field(default_factory=packaged_obstacles)
    """What stands still in the cell, by name."""
    rates: RatesConfig = field(default_factory=RatesConfig)
    """Rates of the control loops."""
    topics: Topics = field(default_factory=Topics)
    """Names of topics."""
    runtime_dir: str = ""
    """Folder of the emulated devices' endpoints; empty on the real cell."""

    def __post_init__(self) -> None:
        require(self.tick_rate > 0, f"tick_rate is {self.tick_rate} Hz; need > 0")
        arms = tuple(self.arms)
        require(
            arms in (SIDES, SIDES[:1], SIDES[1:]),
            f"arms are {list(arms)}; need left and right, in order, or one of them",
        )
        require(
            tuple(self.grippers) == arms,
            f"grippers are {list(self.grippers)}, arms {list(arms)}; need one for each, in order",
        )
        drivers = tuple(self.operators)
        require(
            drivers in (arms, ()),
            f"operators are {list(drivers)}, arms {list(arms)}; need one for each, in order, or "
            "none for a robot that is only read from files",
        )
        check_camera_names(self.cameras)
        ports = [arm.udp_port for arm in self.arms.values() if arm.udp_port]
        require(
            len(set(ports)) == len(ports),
            f"the arms share UDP port {min(ports, default=0)}: give each arm its own, or one "
            "starves",
        )
        for side, arm in self.arms.items():
            self._check_joint_count(side, len(arm.joint_names))

    def _check_joint_count(self, side: str, joints: int) -> None:
        for vector in ("state", "action"):
            for entry in getattr(self.vectors, vector):
                require(
                    entry.name != f"{side}_arm" or entry.size == joints,
                    f"vectors.{vector} gives {entry.name} {entry.size} numbers, the model of that "
                    f"arm ({self.arms[side].model}) has {joints} joints: make them equal",
                )

    def require_tick_rate(self) -> None:
        """Refuse a tick at which no arm is driven; one of an old recording may be such.

        Raises:
            ContractError: the rate and its bounds.
        """
        low, high = TICK_RATES
        require(
            low <= self.tick_rate <= high,
            f"tick_rate is {self.tick_rate} Hz; need {low:g} to {high:g}",
        )

    @property
    def layout(self) -> Layout:
        """What data and checkpoints must share with this cell."""
        return Layout(
            state=VectorLayout(fields=self.vectors.state),
            action=VectorLayout(fields=self.vectors.action),
            # Sorted: a set of keys, equal however the cameras are listed.
            cameras=tuple(sorted(camera.key for camera in self.cameras.values())),
            tick_rate=self.tick_rate,
        )

    @property
    def joint_columns(self) -> tuple[int, ...]:
        """Where the joints stand in the state, arm by arm as velocities do."""
        state = self.layout.state
        columns = range(state.size)
        return tuple(
            column for side in self.arms for column in columns[state.slice(f"{side}_arm")]
        )

    def canonical_text(self) -> str:
        """YAML text that rebuilds this cell; equal cells have equal text."""
        return yaml.safe_dump(_plain(dataclasses.asdict(self)), sort_keys=True)

    @property
    def sha256(self) -> str:
        """Hash of the canonical text."""
        return hashlib.sha256(self.canonical_text().encode()).hexdigest()

    def runtime_path(self, name: str) -> Path:
        """File of the simulated cell's runtime folder."""
        require(bool(self.runtime_dir), f"cell {self.name!r} is real: it has no file {name!r}")
        return Path(self.runtime_dir) / name


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, (list, tuple)) else value


_CONFIG = importlib.resources.files("ate_core") / "config"


def packaged_cell() -> Path:
    """Path of the packaged cell description."""
    return Path(str(_CONFIG / "cell.yaml"))


def packaged_cells() -> dict[str, Path]:
    """Further packaged cells by name, for instance ``six_axis``."""
    files = [Path(str(entry)) for entry in _CONFIG.iterdir()]
    ending = "_cell.yaml"
    return {
        file.name.removesuffix(ending): file
        for file in sorted(files)
        if file.name.endswith(ending)
    }


def cell_file(cell: str | Path | None = None) -> Path:
    """Absolute path of a cell description.

    Args:
        cell: YAML file, or the name of a packaged cell; None or nothing takes the packaged one.
    """
    if not cell or str(cell) == ".":
        return packaged_cell()
    return packaged_cells().get(str(cell), Path(cell).absolute())


def load_cell(cell: str | Path | None = None, hardware: Hardware = "real") -> Cell:
    """Read a cell description.

    Args:
        cell: YAML file, or the name of a packaged cell; None takes the packaged one.
        hardware: ``sim`` lays the section ``simulation`` over the rest.

    Raises:
        ContractError: the file is missing, does not describe a cell, or asks to simulate a cell
            that has one arm.
    """
    problems: list[str] = []
    try:
        settled = _read_cell(cell, hardware, problems)
    except ContractError as error:
        raise_first(problems or [str(error)], MORE)
        raise
    raise_first(problems, MORE)
    return settled


def cell_file_problems(cell: str | Path | None, hardware: Hardware) -> list[str]:
    """All that `load_cell` refuses a cell for, one sentence each."""
    problems: list[str] = []
    try:
        _read_cell(cell, hardware, problems)
    except ContractError as error:
        problems.append(str(error))
    return problems


def _read_cell(cell: str | Path | None, hardware: Hardware, problems: list[str]) -> Cell:
    """Read a cell description; entries out of range are added to ``problems``."""
    file = cell_file(cell)
    try:
        text = read_text(file)
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is no text"
        raise ContractError(
            f"cell file {cell or file} cannot be read ({reason}): give an existing YAML "
            f"file or a packaged cell ({', '.join(packaged_cells())})"
        ) from None
    return _settle(_parse_yaml(text, str(file)), file, hardware, problems)


def _settle(values: dict[str, Any], file: Path, hardware: Hardware, problems: list[str]) -> Cell:
    """Build the cell of a parsed file; entries that are refused are added to ``problems``."""
    _require_asked(values.get("hardware", hardware), hardware, file)
    simulation = values.pop("simulation", None)
    if hardware == "sim":
        if simulation is None:
            raise ContractError(
                f"{file} has no section 'simulation': add it, or use hardware real"
            )
        if not isinstance(simulation, dict):
            raise ContractError(
                f"{file}: simulation is {simulation!r}; need a mapping of sections"
            )
        values = merge(values, simulation, "simulation")
        if file != packaged_cell():
            _add_packaged_views(values)
        _settle_runtime_dir(values)
    values["hardware"] = hardware
    _settle_calibrations(values, file, hardware)
    settled = build(Cell, settle_arms(translate_elbow(values), file), file.name, problems)
    if not problems:
        _check_loaded(settled)
    checks = LOADED_CHECKS if not problems else UNIQUE_CHECKS
    problems += [f"{file.name}: {problem}" for problem in cell_problems(settled, checks)]
    if hardware == "sim":
        require_both_arms(settled, "the simulated cell")
        check_simulated_cameras(settled.cameras)
    return settled


def _require_asked(named: object, asked: Hardware, file: Path) -> None:
    """Refuse a file that names the other body, as the text of a simulated cell's recording."""
    require(
        named == asked,
        f"{file.name}: hardware is {shown(named)}, and {asked} is asked for: a cell file holds "
        "both bodies, remove the entry and say hardware:=sim or real at the launch",
    )


def _check_loaded(cell: Cell) -> None:
    """What a cell file is held to besides; texts embedded in older files are read without it."""
    check_backends(cell.cameras)
    check_camera_streams(cell.cameras)
    known = GRIPPER_TRANSPORTS.names()
    for side, gripper in cell.grippers.items():
        require(
            gripper.transport in known,
            f"grippers.{side}.transport is {gripper.transport!r}; need one of {', '.join(known)}",
        )
    grippers = gripper_names()
    require(
        cell.guard.gripper in grippers,
        f"guard.gripper is {cell.guard.gripper!r}; need one of {', '.join(grippers)}",
    )
    for arm in cell.arms.values():
        arm.check_guards(cell.safety.position_margin)
    if cell.safety.command_timeout * cell.tick_rate <= 1.0:
        warn_of_stutter(cell.tick_rate, cell.safety.command_timeout)
    if cell.hardware == "real":
        for place, value, remedy in unstable_names(cell.grippers, cell.cameras):
            warn_of_unstable_name(place, value, remedy)


@functools.cache
def warn_of_stutter(tick_rate: float, timeout: float) -> None:
    """Say, once per process, that commands come too seldom for the safety filter."""
    LOG.warning(
        "tick_rate %g Hz sends a command every %g s, safety.command_timeout is %g s: the arms "
        "hold between a policy's commands; set command_timeout above one tick",
        tick_rate,
        1.0 / tick_rate,
        timeout,
    )


@functools.cache
def warn_of_unstable_name(place: str, value: str, remedy: str) -> None:
    """Say, once per process, that an entry may name another device tomorrow."""
    LOG.warning("%s is %s: %s", place, value, remedy)


def require_both_arms(cell: Cell, what: str) -> None:
    """Refuse a cell with one arm, or with nobody to drive it, where ``what`` needs the whole."""
    require(
        tuple(cell.operators) == SIDES,
        f"cell {cell.name!r} has the arms {list(cell.arms)} and the operators "
        f"{list(cell.operators)}; {what} needs both sides",
    )


def parse_cell_text(text: str, where: str = "contract") -> Cell:
    """Rebuild a cell from its canonical text, as embedded in files.

    Episodes of a set have one text, and YAML is slow: what was read last is copied.
    """
    try:
        return copy.deepcopy(_parsed(text))
    except AteError:
        return _parse(text, where)  # which says where


def untold_kinds(text: str) -> tuple[str, ...]:
    """Arms and grippers, such as ``left arm``, of whose kind the text of a cell tells nothing.

    Older texts name no model. The cell that is built from one has the usual model all the same.

    Args:
        text: of a cell that can be built from it.
    """
    values = _parse_yaml(text, "contract")
    entries = (("arms", "arm", "model"), ("grippers", "gripper", "stroke_m"))
    return tuple(
        f"{side} {part}"
        for section, part, entry in entries
        for side, told in values[section].items()
        if entry not in told
    )


@functools.lru_cache(maxsize=8)
def _parsed(text: str) -> Cell:
    return _parse(text, "contract")


def _parse(text: str, where: str) -> Cell:
    return build(Cell, translate_elbow(_parse_yaml(text, where)), where)


def _parse_yaml(text: str, where: str) -> dict[str, Any]:
    try:
        values = read_yaml(text)
    except yaml.YAMLError as error:
        line = " ".join(str(error).split())
        raise ContractError(f"{where} is not valid YAML: {line}") from None
    if not isinstance(values, dict):
        found = "nothing" if values is None else f"a {type(values).__name__}"
        raise ContractError(f"{where} holds {found}; need a mapping of sections")
    return values


def _add_packaged_views(values: dict[str, Any]) -> None:
    """Let the packaged cell's cameras look from where they do in files that do not say."""
    packaged = load_cell(None, "sim").cameras
    cameras = values.get("cameras")
    if not isinstance(cameras, dict):
        return  # refused when the cell is built
    for role, camera in cameras.items():
        view = packaged[role].view if role in packaged else None
        if isinstance(camera, dict) and view is not None:
            camera.setdefault("view", dataclasses.asdict(view))


def _settle_calibrations(values: dict[str, Any], file: Path, hardware: Hardware) -> None:
    """Take the cameras' calibration files from beside the cell file; drawn ones need none."""
    cameras = values.get("cameras")
    for camera in cameras.values() if isinstance(cameras, dict) else ():
        if isinstance(camera, dict) and isinstance(camera.get("calibration"), str):
            named = camera["calibration"] if hardware == "real" else ""
            camera["calibration"] = str(file.parent / named) if named else ""


def _settle_runtime_dir(values: dict[str, Any]) -> None:
    """Choose the runtime folder and write it into the serial ports that lie in it."""
    default = values.get("runtime_dir") or f"{tempfile.gettempdir()}/ate-{os.getuid()}"
    folder = os.environ.get(RUNTIME_VARIABLE, "") or str(default)
    values["runtime_dir"] = folder
    grippers = values.get("grippers")
    for gripper in grippers.values() if isinstance(grippers, dict) else ():
        if isinstance(gripper, dict) and isinstance(gripper.get("port"), str):
            gripper["port"] = gripper["port"].replace("{runtime_dir}", folder)
