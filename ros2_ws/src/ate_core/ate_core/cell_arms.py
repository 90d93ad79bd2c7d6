"""The arms of a cell file: what their model and driver decide is filled in."""

import operator
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ate_core.arm_model import ArmModel, load_arm_model
from ate_core.devices import DEFAULT_DRIVER, DEFAULT_MODEL, Guard
from ate_core.drivers import ARM_DRIVERS, KNOWN_OPTIONS, NEEDED_ENTRIES
from ate_core.errors import ContractError
from ate_core.strict import nearest, require


def settle_arms(values: Mapping[str, Any], file: Path) -> dict[str, Any]:
    """Fill in what the arms' models decide; what the cell file says of an arm goes first.

    Args:
        values: parsed cell file.
        file: where it lies; models are named relative to it.

    Raises:
        ContractError: a driver or model is unknown, or an entry of the driver is missing.
    """
    arms = values.get("arms")
    if not isinstance(arms, Mapping):
        return dict(values)
    is_driven = bool(values.get("operators"))  # without, the robot is only read from files
    settled = {
        side: _settle(str(side), arm, file, is_driven) if isinstance(arm, Mapping) else arm
        for side, arm in arms.items()
    }
    return {**values, "arms": settled}


def translate_elbow(values: dict[str, Any]) -> dict[str, Any]:
    """Turn ``safety.min_elbow`` of files from before arms named their model into a guard.

    A file that names models keeps the entry, which is then refused as unknown.
    """
    safety, arms = values.get("safety"), values.get("arms")
    if not isinstance(safety, dict) or not isinstance(arms, dict) or "min_elbow" not in safety:
        return values
    if any(not isinstance(arm, dict) or "model" in arm for arm in arms.values()):
        return values
    model = load_arm_model(DEFAULT_MODEL)
    smallest = safety["min_elbow"]
    translated = {}
    for side, arm in arms.items():
        names = arm.get("joint_names") or [f"{side}_{joint}" for joint in model.joints]
        by_joint = dict(zip(model.joints, names, strict=False))
        guards = {by_joint[j]: {"lower": smallest} for j in model.guards if j in by_joint}
        translated[side] = {**arm, "guards": guards}
    kept = {key: value for key, value in safety.items() if key != "min_elbow"}
    return {**values, "safety": kept, "arms": translated}


def _settle(side: str, arm: Mapping[str, Any], file: Path, is_driven: bool) -> dict[str, Any]:
    where = f"{file.name}.arms.{side}"
    driver = str(arm.get("driver", DEFAULT_DRIVER))
    ARM_DRIVERS.require(driver)
    for entry in NEEDED_ENTRIES.get(driver, ()):
        require(
            bool(arm.get(entry)) or not is_driven,
            f"{where} lacks the field {entry!r}: add it, the driver {driver} needs it",
        )
    _check_options(driver, arm.get("options"), where)
    model = _model(str(arm.get("model", DEFAULT_MODEL)), file, where)
    names = arm.get("joint_names")
    names = [f"{side}_{joint}" for joint in model.joints] if names is None else names
    require(
        isinstance(names, (list, tuple)), f"{where}.joint_names is {names!r}; need a list of names"
    )
    require(
        len({str(name) for name in names}) == len(names), f"{where}.joint_names repeats a name"
    )
    require(
        len(names) == len(model.joints),
        f"{where}.joint_names has {len(names)} entries, the model {model.name} has "
        f"{len(model.joints)} joints",
    )
    return {
        "home": list(model.home),
        "joint_lower": list(model.lower),
        "joint_upper": list(model.upper),
        "joint_speed": list(model.speed),
        **arm,
        "driver": driver,
        "model": model.name,
        "joint_names": list(names),
        "guards": _guards(arm, model, names, where, is_driven),
    }


def _guards(
    arm: Mapping[str, Any], model: ArmModel, names: Sequence[str], where: str, is_driven: bool
) -> Any:
    """Guards of the model, bound by bound narrowed by those of the cell file."""
    own = arm.get("guards", {})
    if not isinstance(own, Mapping):
        return own  # refused, with its place, when the cell is built
    guards: dict[str, Any] = {
        name: {"lower": guard.lower, "upper": guard.upper}
        for index, (joint, name) in enumerate(zip(model.joints, names, strict=True))
        if (guard := model.guards.get(joint)) is not None
        and (is_driven or _is_its_own(arm, index, guard))
    }
    for name, bounds in own.items():
        below = guards.get(name)
        if below is None or not isinstance(bounds, Mapping):
            guards[name] = bounds
            continue
        if "model" in arm:
            _require_narrower(below, bounds, f"{where}.guards.{name}")
        given = {key: value for key, value in bounds.items() if value is not None}
        guards[name] = {**below, **given}
    return guards


def _is_its_own(arm: Mapping[str, Any], index: int, guard: Guard) -> bool:
    """Whether a guard of the model is meant for an arm that is only read from files.

    Files from before arms named their model may describe any arm, whose home may lie outside.
    """
    home = arm.get("home")
    if "model" in arm or not isinstance(home, (list, tuple)) or index >= len(home):
        return True
    angle = home[index]
    if not isinstance(angle, (int, float)):
        return True  # refused when the cell is built
    return (guard.lower is None or angle >= guard.lower) and (
        guard.upper is None or angle <= guard.upper
    )


def _require_narrower(model: Mapping[str, Any], own: Mapping[str, Any], where: str) -> None:
    for key, is_wider in (("lower", operator.lt), ("upper", operator.gt)):
        bound, given = model[key], own.get(key)
        if bound is None or not isinstance(given, (int, float)):
            continue  # refused, with its place, when the cell is built
        require(
            not is_wider(given, bound),
            f"{where}.{key} is {given}, wider than the {bound} of the model: a cell may only "
            "narrow a guard, change the model's where it is wrong",
        )


def _check_options(driver: str, options: object, where: str) -> None:
    known = KNOWN_OPTIONS.get(driver)
    if known is None or not isinstance(options, Mapping):
        return
    for name in options:
        require(
            name in known,
            f"{where}.options has the unknown key {name!r}; known keys of the driver {driver}: "
            f"{', '.join(known) or 'none'}{nearest(name, known)}",
        )


def _model(name: str, file: Path, where: str) -> ArmModel:
    """Model by packaged name, or by a path relative to the cell file."""
    path = Path(name)
    try:
        if path.suffix in (".yaml", ".yml"):
            return load_arm_model(str((file.parent / path).resolve()))
        return load_arm_model(name)
    except ContractError as error:
        raise ContractError(f"{where}.model: {error}") from None
