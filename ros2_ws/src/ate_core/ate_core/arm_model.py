"""Models of arms: joints, limits, home, guards and simulation data, by name.

A model is one YAML file and the URDF it names. The packaged ones lie in `ate_description`; a cell
may name a YAML file of its own instead. docs/adding_an_arm.md shows one.
"""

import functools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import yaml

from ate_core.devices import DEFAULT_MODEL, ArmConfig, Guard
from ate_core.entry_checks import Angle, Range
from ate_core.errors import ContractError
from ate_core.geometry import transform
from ate_core.kinematics import Joint, SerialChain
from ate_core.strict import build_checked, raise_first, require
from ate_core.urdf import FLANGE, change_lengths, parse_chain
from ate_core.yaml_text import read_text, read_yaml
from ate_description import model_file, model_names

LARGEST_ANGLE = 10.0
"""Largest limit of a joint [rad]: some wrists turn more than once, none as often as in degrees."""
MAX_LINK = 2.0
"""Largest distance between two joints [m]."""
LONGEST_URDF = 5_000_000
"""Longest URDF that is read [characters]."""


@dataclass(frozen=True, kw_only=True)
class Embodiment:
    """How another arm differs from a model; used to make pre-training motion."""

    name: str
    """Name of the embodiment."""
    scale: Mapping[str, float] = field(default_factory=dict)
    """Joint -> length of the link before it, over the model's."""
    locked_joints: tuple[str, ...] = ()
    """Joints that this arm does not have; they stay at zero."""


@dataclass(frozen=True, kw_only=True)
class Servos:
    """What the simulated world needs of an arm, one number per joint, base first."""

    servo_gain: tuple[Annotated[float, Range(1.0, 1e6, "N m/rad")], ...]
    """Stiffness of the position servo [N m/rad]."""
    armature: tuple[Annotated[float, Range(1e-4, 10.0, "kg m2")], ...]
    """Inertia of the motor behind its gear [kg m2]."""
    radius: tuple[Annotated[float, Range(0.005, 0.5, "m")], ...]
    """Radius of the link behind the joint [m]."""
    link_mass: tuple[Annotated[float, Range(0.01, 50.0, "kg")], ...]
    """Mass of that link [kg]."""


@dataclass(frozen=True, kw_only=True)
class Capsule:
    """A cylinder with round ends: all points nearer to a line than its radius."""

    start: tuple[Annotated[float, Range(-MAX_LINK, MAX_LINK, "m")], ...]
    """One end of the line [m]."""
    end: tuple[Annotated[float, Range(-MAX_LINK, MAX_LINK, "m")], ...]
    """The other end; the same for a sphere [m]."""
    radius: Annotated[float, Range(0.002, 0.5, "m")]
    """Radius [m]."""

    def __post_init__(self) -> None:
        for name in ("start", "end"):
            point = getattr(self, name)
            require(len(point) == 3, f"capsule: {name} is {list(point)}; need x, y, z")


Wrench = Annotated[float, Range(0.1, 10000.0)]
"""Largest force [N] or moment [N m] of a sensor."""

BASE = "base"
"""Name of the link that stands still, among the joints that name the others."""


@dataclass(frozen=True, kw_only=True)
class ArmModel:
    """One kind of arm."""

    name: str
    """Packaged name, or the path of its YAML file."""
    urdf: str
    """Text of its URDF."""
    tip: str
    """Link of the URDF that carries the gripper."""
    joints: tuple[str, ...]
    """Names of the joints, base first, without a side."""
    lower: tuple[float, ...]
    """Lower limits [rad]."""
    upper: tuple[float, ...]
    """Upper limits [rad]."""
    speed: tuple[float, ...]
    """Largest speeds [rad/s]."""
    home: tuple[float, ...]
    """Resting posture [rad]."""
    guards: Mapping[str, Guard]
    """Joint -> bounds of commands, where the limits do not suffice."""
    payload: float | None
    """Largest mass at the flange, tool included; None: not known [kg]."""
    wrench_range: tuple[float, float] | None
    """Largest force [N] and moment [N m] that its sensor measures; None: not known."""
    capsules: Mapping[str, tuple[Capsule, ...]]
    """Joint, or ``base`` -> what the link behind it fills, in its frame; empty: not described."""
    simulation: Servos | None
    """Data of the simulated arm; None for an arm that is not simulated."""
    variants: Mapping[str, Embodiment]
    """Other bodies made from this one, by name."""

    def chain(self, embodiment: Embodiment | None = None) -> SerialChain:
        """Chain from the base to the flange, of this arm or of a body made from it."""
        return parse_chain(self.urdf_text(embodiment), self.tip)

    def urdf_text(self, embodiment: Embodiment | None = None) -> str:
        """URDF of this arm or of a body made from it.

        Raises:
            ContractError: the body changes a joint that this arm does not have.
        """
        if embodiment is None:
            return self.urdf
        return change_lengths(
            self.urdf, embodiment.name, embodiment.scale, embodiment.locked_joints
        )


@functools.cache
def load_arm_model(name: str = DEFAULT_MODEL) -> ArmModel:
    """Read a model.

    Args:
        name: packaged name, or the path of a YAML file.

    Raises:
        ContractError: there is no such model, or its files do not describe an arm.
    """
    file = model_file(name) if name in model_names() else Path(name)
    if file.suffix not in (".yaml", ".yml"):
        raise ContractError(
            f"there is no arm model {name!r}: known are {', '.join(model_names())}, or give the "
            "path of a model's YAML file"
        )
    values = build_checked(_ModelFile, _read_yaml(file), file.name)
    urdf = _read(file.parent / values.urdf)
    chain = parse_chain(urdf, values.tip)
    joints = tuple(joint.name for joint in chain.joints)
    _check(values, joints, file.name)
    _check_joints(chain, file.name, is_simulated=values.simulation is not None)
    return ArmModel(
        name=name,
        urdf=urdf,
        tip=values.tip,
        joints=joints,
        lower=tuple(joint.lower for joint in chain.joints),
        upper=tuple(joint.upper for joint in chain.joints),
        speed=tuple(joint.speed for joint in chain.joints),
        home=values.home,
        guards=values.guards,
        payload=values.payload,
        wrench_range=values.wrench_range,
        capsules=values.capsules,
        simulation=values.simulation,
        variants={
            key: Embodiment(name=key, scale=variant.scale, locked_joints=variant.locked)
            for key, variant in values.variants.items()
        },
    )


def tool_chain(arm: ArmConfig) -> SerialChain:
    """Chain from the base of a cell's arm to its grasp point."""
    tool = transform(np.eye(3), [0.0, 0.0, arm.tool_length])
    return load_arm_model(arm.model).chain().with_tip(tool)


@dataclass(frozen=True, kw_only=True)
class _Variant:
    scale: dict[str, Annotated[float, Range(0.2, 3.0)]] = field(default_factory=dict)
    locked: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class _ModelFile:
    """What the YAML file of a model says."""

    urdf: str
    tip: str = FLANGE
    home: tuple[Angle, ...]
    payload: Annotated[float, Range(0.1, 20.0, "kg")] | None = None
    wrench_range: tuple[Wrench, Wrench] | None = None
    guards: dict[str, Guard] = field(default_factory=dict)
    capsules: dict[str, tuple[Capsule, ...]] = field(default_factory=dict)
    simulation: Servos | None = None
    variants: dict[str, _Variant] = field(default_factory=dict)


def _check(values: _ModelFile, joints: tuple[str, ...], where: str) -> None:
    lists: dict[str, tuple[float, ...]] = {"home": values.home}
    if values.simulation is not None:
        lists |= {f"simulation.{key}": entry for key, entry in vars(values.simulation).items()}
    for key, entries in lists.items():
        require(
            len(entries) == len(joints),
            f"{where}: {key} has {len(entries)} entries, the URDF has {len(joints)} joints",
        )
    for link in values.capsules:
        require(
            link in (BASE, *joints),
            f"{where}: capsules name the link {link!r}; the URDF has {BASE}, {', '.join(joints)}",
        )
    for joint in values.guards:
        require(
            joint in joints,
            f"{where}: guards name the joint {joint!r}; the URDF has {', '.join(joints)}",
        )


def _check_joints(chain: SerialChain, where: str, *, is_simulated: bool) -> None:
    names = [joint.name for joint in chain.joints]
    for joint in chain.joints:
        urdf = f"{where}: joint {joint.name!r} of the URDF"
        raise_first([f"{urdf} {problem}" for problem in _range_problems(joint)])
        require(names.count(joint.name) == 1, f"{urdf} is there twice: give each its own name")
        require(
            joint.lower < joint.upper,
            f"{urdf} has the limits {joint.lower} to {joint.upper} rad; need lower < upper",
        )
        require(joint.speed > 0, f"{urdf} has the velocity {joint.speed} rad/s; need > 0")
        require(
            joint.effort > 0 or not is_simulated,
            f"{urdf} has the effort {joint.effort} N m; need > 0 to simulate it",
        )


def _range_problems(joint: Joint) -> Iterator[str]:
    """What a joint's numbers show of a wrong unit."""
    speed, reach = Range(0.0, 10.0, "rad/s"), Range(0.0, MAX_LINK, "m")
    angle = Range(-LARGEST_ANGLE, LARGEST_ANGLE, "rad")
    for what, check, value in (
        ("limit lower", angle, joint.lower),
        ("limit upper", angle, joint.upper),
        ("limit velocity", speed, joint.speed),
        ("limit effort", Range(0.0, 2000.0, "N m"), joint.effort),
        ("distance from the joint before", reach, float(np.linalg.norm(joint.origin[:3, 3]))),
    ):
        if problem := check.problem(value):
            yield f"{what} {problem}"


def _read(file: Path) -> str:
    try:
        return read_text(file, LONGEST_URDF)
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is no text"
        raise ContractError(
            f"{file} of an arm model cannot be read ({reason}): give an existing file, "
            f"or one of the packaged models {', '.join(model_names())}"
        ) from None


def _read_yaml(file: Path) -> Any:
    try:
        return read_yaml(_read(file))
    except yaml.YAMLError as error:
        line = " ".join(str(error).split())
        raise ContractError(f"{file} is not valid YAML: {line}") from None
