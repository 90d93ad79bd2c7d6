"""Control runs on the monotonic clock; the wall clock stamps what is measured, and only there."""

import ast
from pathlib import Path

SOURCE = Path(__file__).parents[2] / "ros2_ws" / "src"
CONTROL = (
    "arm_driver", "ate_core", "ate_teleop", "cell_monitor", "omnipicker_driver",
    "operator_devices", "realman_driver", "realsense_camera", "ros2_control_driver",
)  # fmt: skip
WALL = {"time", "time_ns", "now", "utcnow", "today", "localtime", "gmtime"}
STAMPING = {
    "omnipicker_driver/client.py",
    "realman_driver/link.py",
    "realsense_camera/backends/sdk.py",
    "realsense_camera/backends/software.py",
    "realsense_camera/backends/v4l2.py",
}
"""Modules outside nodes that stamp measurements."""


def reads_of_the_wall_clock(path: Path) -> list[str]:
    """Calls such as ``time.time()`` and ``datetime.now()``."""
    calls = [n.func for n in ast.walk(ast.parse(path.read_text())) if isinstance(n, ast.Call)]
    return [
        ast.unparse(call)
        for call in calls
        if isinstance(call, ast.Attribute)
        and call.attr in WALL
        and ast.unparse(call.value).split(".")[-1] in ("time", "datetime", "date", "get_clock()")
    ]


def test_the_wall_clock_is_read_only_where_measurements_are_stamped():
    found = {}
    for package in CONTROL:
        for path in (SOURCE / package / package).rglob("*.py"):
            name = path.relative_to(SOURCE / package).as_posix()
            calls = reads_of_the_wall_clock(path)
            if "nodes" in path.parts:  # there ROS's clock stamps messages and ages commands
                calls = [call for call in calls if "get_clock" not in call]
            if calls:
                found[name] = calls
    assert set(found) == STAMPING, found
