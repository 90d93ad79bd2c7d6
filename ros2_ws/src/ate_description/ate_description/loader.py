"""Where the packaged arm models lie. What is in them, `ate_core.arm_model` reads."""

import importlib.resources
from pathlib import Path

_MODELS = importlib.resources.files("ate_description") / "models"


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
