"""The launch files build the same list of processes as `ate launch`.

ROS's launch tool has no wheel, so doubles of the few classes in use stand in for it; they are
used also where ROS is sourced, so the test says the same everywhere.
"""

import importlib.util
import sys
from pathlib import Path

import pytest

from ate_bringup.launches import LAUNCHES

SOURCE = Path(__file__).parents[2] / "ros2_ws" / "src"
GIVEN = {
    "dual_operator": [{}, {"hardware": "sim", "episodes": "2"}],
    "deploy": [{"checkpoint": "x"}, {"checkpoint": "x", "hardware": "sim", "episodes": "1"}],
}
CASES = [(name, given) for name, cases in GIVEN.items() for given in cases]


@pytest.fixture
def launch_double(monkeypatch):
    monkeypatch.syspath_prepend(str(Path(__file__).parent / "launch_double"))
    for name in list(sys.modules):
        if name.split(".")[0] in ("launch", "launch_ros") or name.endswith("launch_ros_adapter"):
            monkeypatch.delitem(sys.modules, name)
    yield
    for name in list(sys.modules):
        if name.split(".")[0] in ("launch", "launch_ros") or name.endswith("launch_ros_adapter"):
            del sys.modules[name]


def actions_of(launch, given):
    from launch import LaunchContext
    from launch.actions import DeclareLaunchArgument, OpaqueFunction

    file = SOURCE / launch.package / "launch" / launch.file
    spec = importlib.util.spec_from_file_location("launch_file", file)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    description = module.generate_launch_description()
    context = LaunchContext()
    for entity in description.entities:
        if isinstance(entity, DeclareLaunchArgument):
            value = given.get(entity.name, entity.default_value)
            context.launch_configurations[entity.name] = value
    (start,) = (e for e in description.entities if isinstance(e, OpaqueFunction))
    return start.execute(context)


@pytest.mark.parametrize(("name", "given"), CASES)
def test_launch_file_and_ate_launch_run_the_same_processes(
    name, given, launch_double, runtime_dir
):
    launch = LAUNCHES[name]
    specs = launch.processes(given)
    actions = actions_of(launch, given)
    assert len(actions) == len(specs)
    for spec, action in zip(specs, actions, strict=True):
        assert action.name == spec.name
        assert action.options["respawn"] == spec.respawn
        assert action.options["additional_env"] == dict(spec.environment)
        assert ("on_exit" in action.options) == spec.ends_launch
        if spec.is_node:
            assert (action.package, action.executable) == (spec.package, spec.executable)
            assert (action.namespace or "") == spec.namespace
            assert action.parameters == [dict(spec.parameters)]
        else:
            assert action.cmd[1:] == spec.command()[1:]
