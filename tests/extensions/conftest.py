"""Packages outside the project, made in a temporary folder."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture
def code_of() -> Callable[[str, str], list[str]]:
    """Give the code blocks of one language on a page of `docs/`, in order."""

    def find(page: str, language: str) -> list[str]:
        text = (ROOT / "docs" / page).read_text()
        return re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)

    return find


@pytest.fixture
def add_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """Write a module with entry points as an installer would, and put it on the path."""

    def add(name: str, code: str, group: str, entries: dict[str, str]) -> Path:
        folder = tmp_path / "outside"
        info = folder / f"{name}-1.0.dist-info"
        info.mkdir(parents=True)
        (folder / f"{name}.py").write_text(code)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        lines = [f"{entry} = {target}" for entry, target in entries.items()]
        (info / "entry_points.txt").write_text("\n".join([f"[{group}]", *lines, ""]))
        monkeypatch.syspath_prepend(folder)
        monkeypatch.setenv("PYTHONPATH", str(folder))
        return folder

    return add
