"""All of this project talks by one transport: what joins ROS says so first."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FOLDERS = ("ros2_ws/src", "benchmarks", "examples", "tools", "training")
BOTH = JOINING, SAYING = "rclpy.init", "use_sockets"


def joins_without_saying(source: str) -> list[int]:
    """Lines at which a function initialises ROS and has not asked for sockets further up."""
    found = []
    for function in ast.walk(ast.parse(source)):
        if isinstance(function, ast.FunctionDef):
            calls = [node for node in ast.walk(function) if isinstance(node, ast.Call)]
            lines = {
                name: [c.lineno for c in calls if ast.unparse(c.func) == name] for name in BOTH
            }
            first = min(lines[SAYING], default=1_000_000)
            found += [line for line in lines[JOINING] if line < first]
    return found


@pytest.mark.parametrize("folder", FOLDERS)
def test_whatever_initialises_ros_asks_for_sockets_before(folder):
    wrong = {
        f"{path.relative_to(ROOT)}:{line}"
        for path in (ROOT / folder).rglob("*.py")
        for line in joins_without_saying(path.read_text())
    }
    assert not wrong, f"call ate_core.nodes.transport.use_sockets before rclpy.init: {wrong}"


def test_who_forgets_to_ask_is_found():
    assert joins_without_saying("def f():\n    rclpy.init()\n    use_sockets()\n") == [2]
    assert joins_without_saying("def f():\n    use_sockets()\n    rclpy.init(args=[])\n") == []
