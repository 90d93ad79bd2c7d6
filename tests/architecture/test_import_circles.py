"""Data flows one way: no module of the repository reaches itself through imports."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FOLDERS = {
    **{path.parent.name: path.parent for path in (ROOT / "ros2_ws/src").glob("*/*/__init__.py")},
    "training": ROOT / "training",
}
EXEMPT: dict[tuple[str, str], str] = {}
"""Imports that may close a circle because they run late: (importer, imported) -> the reason."""


def modules() -> dict[str, Path]:
    """Files by module name."""
    found = {}
    for package, folder in FOLDERS.items():
        for path in folder.rglob("*.py"):
            parts = path.relative_to(folder.parent).with_suffix("").parts
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
        assert package in found, f"{folder} is not a package"
    return found


def imports(path: Path, known: dict[str, Path]) -> Iterator[str]:
    """Modules of the repository that a file imports anywhere, for types and in functions too."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in known)
        elif isinstance(node, ast.ImportFrom) and node.module in known:
            for alias in node.names:
                child = f"{node.module}.{alias.name}"
                yield child if child in known else str(node.module)


def circles(graph: dict[str, set[str]]) -> list[list[str]]:
    """Modules that reach themselves, one list for each circle found."""
    found: list[list[str]] = []
    done: set[str] = set()

    def visit(module: str, way: list[str]) -> None:
        if module in way:
            found.append([*way[way.index(module) :], module])
        elif module not in done:
            for target in sorted(graph[module]):
                visit(target, [*way, module])
            done.add(module)

    for module in sorted(graph):
        visit(module, [])
    return found


@pytest.fixture(scope="module")
def graph() -> dict[str, set[str]]:
    known = modules()
    return {name: set(imports(path, known)) - {name} for name, path in known.items()}


def test_no_module_imports_itself_in_a_circle(graph: dict[str, set[str]]) -> None:
    kept = {
        name: {target for target in targets if (name, target) not in EXEMPT}
        for name, targets in graph.items()
    }
    assert [" -> ".join(circle) for circle in circles(kept)] == []


def test_every_exemption_is_still_needed_and_has_a_reason(graph: dict[str, set[str]]) -> None:
    for (importer, imported), reason in EXEMPT.items():
        assert imported in graph[importer], (importer, imported)
        assert len(reason) > 20


def test_a_circle_is_found() -> None:
    graph = {"a": {"b"}, "b": {"c"}, "c": {"a"}, "d": {"a"}}
    assert circles(graph) == [["a", "b", "c", "a"]]
