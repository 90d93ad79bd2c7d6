"""Where the packaged arm models and grippers lie; `ate_core` reads what is in them."""

import importlib.resources
from importlib.resources.abc import Traversable
from pathlib import Path

_MODELS = importlib.resources.files("ate_description") / "models"
_GRIPPERS = importlib.resources.files("ate_description") / "grippers"


def model_names() -> tuple[str, ...]:
    """Names of the packaged arm models, in alphabetical order."""
    return _names(_MODELS)


def model_file(name: str) -> Path:
    """YAML file of a packaged arm model; its URDF lies beside it.

    Raises:
        KeyError: there is no such model.
    """
    return _file(_MODELS, name)


def gripper_names() -> tuple[str, ...]:
    """Names of the packaged grippers, in alphabetical order."""
    return _names(_GRIPPERS)


def gripper_file(name: str) -> Path:
    """YAML file of the shapes of a packaged gripper.

    Raises:
        KeyError: there is no such gripper.
    """
    return _file(_GRIPPERS, name)


def _names(folder: Traversable) -> tuple[str, ...]:
    files = (Path(entry.name) for entry in folder.iterdir())
    return tuple(sorted(file.stem for file in files if file.suffix == ".yaml"))


def _file(folder: Traversable, name: str) -> Path:
    if name not in _names(folder):
        raise KeyError(name)
    return Path(str(folder / f"{name}.yaml"))
