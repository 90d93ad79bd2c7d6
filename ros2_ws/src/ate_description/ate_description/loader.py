"""Where the packaged arm models and grippers lie; `ate_core` reads what is in them."""

import importlib.resources
from pathlib import Path

_MODELS = importlib.resources.files("ate_description") / "models"
_GRIPPERS = importlib.resources.files("ate_description") / "grippers"


def model_names() -> tuple[str, ...]:
    """Names of the packaged arm models, in alphabetical order."""
    files = (Path(entry.name) for entry in _MODELS.iterdir())
    return tuple(sorted(file.stem for file in files if file.suffix == ".yaml"))


def model_file(name: str) -> Path:
    """YAML file of a packaged arm model; its URDF lies beside it.

    Raises:
        KeyError: there is no such model.
    """
    if name not in model_names():
        raise KeyError(name)
    return Path(str(_MODELS / f"{name}.yaml"))


def gripper_names() -> tuple[str, ...]:
    """Names of the packaged grippers, in alphabetical order."""
    files = (Path(entry.name) for entry in _GRIPPERS.iterdir())
    return tuple(sorted(file.stem for file in files if file.suffix == ".yaml"))


def gripper_file(name: str) -> Path:
    """YAML file of the shapes of a packaged gripper.

    Raises:
        KeyError: there is no such gripper.
    """
    if name not in gripper_names():
        raise KeyError(name)
    return Path(str(_GRIPPERS / f"{name}.yaml"))
