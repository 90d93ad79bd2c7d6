"""The arms of a cell file: what their model and driver decide is filled in."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ate_core.arm_model import ArmModel, load_arm_model
from ate_core.devices import DEFAULT_DRIVER, DEFAULT_MODEL
from ate_core.drivers import ARM_DRIVERS, NEEDED_ENTRIES
from ate_core.errors import ContractError
from ate_core.strict import require


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
    settled = {
        side: _settle(str(side), arm, file) if isinstance(arm, Mapping) else arm
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


def _settle(side: str, arm: Mapping[str, Any], file: Path) -> dict[str, Any]:
    where = f"{file.name}.arms.{side}"
    driver = str(arm.get("driver", DEFAULT_DRIVER))
    ARM_DRIVERS.require(driver)
    for entry in NEEDED_ENTRIES.get(driver, ()):
        require(
            bool(arm.get(entry)),
            f"{where} lacks the field {entry!r}: add it, the driver {driver} needs it",
        )
    model = _model(str(arm.get("model", DEFAULT_MODEL)), file, where)
    names = arm.get("joint_names") or [f"{side}_{joint}" for joint in model.joints]
    require(
        len(names) == len(model.joints),
        f"{where}.joint_names has {len(names)} entries, the model {model.name} has "
        f"{len(model.joints)} joints",
    )
    guards = {
        name: {"lower": guard.lower, "upper": guard.upper}
        for joint, name in zip(model.joints, names, strict=True)
        if (guard := model.guards.get(joint)) is not None
    }
    own = arm.get("guards")
    return {
        "home": list(model.home),
        "joint_lower": list(model.lower),
        "joint_upper": list(model.upper),
        "joint_speed": list(model.speed),
        **arm,
        "driver": driver,
        "model": model.name,
        "joint_names": list(names),
        "guards": {**guards, **own} if isinstance(own, Mapping) else guards,
    }


def _model(name: str, file: Path, where: str) -> ArmModel:
    """Model by packaged name, or by a path relative to the cell file."""
    path = Path(name)
    try:
        if path.suffix in (".yaml", ".yml"):
            return load_arm_model(str((file.parent / path).resolve()))
        return load_arm_model(name)
    except ContractError as error:
        raise ContractError(f"{where}.model: {error}") from None
