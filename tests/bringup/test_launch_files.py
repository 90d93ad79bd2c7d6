"""The launch files build the same list of processes as `ate launch`.

ROS's launch tool has no wheel, so doubles of the few classes in use stand in for it; they are
used also where ROS is sourced, so the test says the same everywhere.
"""

import importlib.util
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from ate_bringup.launches import CELL_FILES, LAUNCHES, find_cell_launch
from ate_bringup.restarts import Restarts
from ate_core.child import child_command, child_environment
from ate_core.errors import AteError, DeviceError, UsageError

ROOT = Path(__file__).parents[2]
GIVEN = {
    "dual_operator": [{}, {"hardware": "sim", "episodes": "2"}],
    "deploy": [{"checkpoint": "x"}, {"checkpoint": "x", "hardware": "sim", "episodes": "1"}],
    "view": [{}, {"hardware": "sim"}],
    "robot": [{}, {"hardware": "sim", "task": "handover", "cameras": "false"}],
}
FILES = {ROOT / "launch" / f"{name}.launch.py": launch for name, launch in CELL_FILES.items()}
FILES |= {
    ROOT / "ros2_ws" / "src" / launch.package / "launch" / launch.file: launch
    for launch in LAUNCHES.values()
    if launch.package
}
CASES = [(file, given) for file, launch in FILES.items() for given in GIVEN[launch.name]]


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


def described(file):
    """What a launch file describes."""
    spec = importlib.util.spec_from_file_location("launch_file", file)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.generate_launch_description().entities


def actions_of(file, given):
    return started(described(file), given)


def started(entities, given):
    """The processes that a launch of these entities starts."""
    from launch import LaunchContext
    from launch.actions import DeclareLaunchArgument, OpaqueFunction

    context = LaunchContext([f"{name}:={value}" for name, value in given.items()])
    for entity in entities:
        if isinstance(entity, DeclareLaunchArgument):
            value = given.get(entity.name, entity.default_value)
            context.launch_configurations[entity.name] = value
    (start,) = (e for e in entities if isinstance(e, OpaqueFunction))
    return start.execute(context)


def untyped(parameters):
    """Values of parameters; text must be marked as text, or launch_ros reads it as YAML."""
    for values in parameters:
        for value in values.values():
            assert isinstance(value, bool | int) or value.value_type is str
    return [
        {name: getattr(value, "value", value) for name, value in values.items()}
        for values in parameters
    ]


def test_every_launch_file_is_known_to_ate_launch():
    found = {*ROOT.glob("launch/*.launch.py"), *ROOT.glob("ros2_ws/src/*/launch/*.launch.py")}
    assert found == set(FILES)
    for file in ROOT.glob("launch/*.launch.py"):
        assert find_cell_launch(file) is FILES[file]


@pytest.mark.parametrize(("file", "given"), CASES, ids=str)
def test_launch_file_and_ate_launch_run_the_same_processes(
    file, given, launch_double, runtime_dir, monkeypatch
):
    asked = []
    monkeypatch.setattr("ate_bringup.preflight.refuse_to_launch", lambda *one: asked.append(one))
    specs = FILES[file].processes(given)
    actions = actions_of(file, given)
    assert asked == [(FILES[file], FILES[file].resolve(given))]
    assert len(actions) == len(specs)
    for spec, action in zip(specs, actions, strict=True):
        assert action.name == spec.name
        assert "respawn" not in action.options  # launch_ros's own knows no limit
        assert action.options["additional_env"] == {**child_environment(), **spec.environment}
        if spec.is_node:
            assert (action.package, action.executable) == (spec.package, spec.executable)
            assert (action.namespace or "") == spec.namespace
            assert untyped(action.parameters) == [dict(spec.parameters)]
            assert dict(action.options["remappings"]) == spec.remappings
            assert tuple(action.options["arguments"]) == spec.arguments
        else:
            assert action.cmd == child_command(spec.module, spec.arguments)


def test_a_launch_file_refuses_what_the_doctor_fails(launch_double, tmp_path):
    given = {"checkpoint": str(tmp_path / "none")}
    with pytest.raises(DeviceError, match=r"none: lacks config\.json"):
        actions_of(ROOT / "launch" / "deploy.launch.py", given)


@pytest.mark.parametrize("file", FILES, ids=str)
@pytest.mark.parametrize(
    ("command", "refusal"),
    [
        (["launch", "{file}", "hardwre:=sim"], "'hardwre'.*did you mean hardware"),
        (["launch", "package", "{name}", "celle:=x"], "'celle'.*did you mean cell"),
        (["launch", "{file}", "cell:=a", "cell:=b"], "cell is given twice, as 'a' and 'b'"),
        (["launch", "{file}", "hardware:=sim", "launch-prefix:=nice"], ""),
        (["launch", "whole_lab.launch.py", "room:=4"], ""),
    ],
)
def test_a_launch_file_refuses_words_that_ros_would_not_miss(
    command, refusal, file, launch_double, monkeypatch
):
    from launch import LaunchContext
    from launch.actions import OpaqueFunction

    words = [word.format(file=file, name=file.name) for word in command]
    monkeypatch.setattr(sys, "argv", ["/opt/ros/jazzy/bin/ros2", *words])
    monkeypatch.setattr("ate_bringup.preflight.refuse_to_launch", lambda *_: None)
    context = LaunchContext([word for word in words if ":=" in word])
    context.launch_configurations = FILES[file].resolve(GIVEN[FILES[file].name][0])
    (start,) = (e for e in described(file) if isinstance(e, OpaqueFunction))
    if not refusal:
        assert start.execute(context)
        return
    with pytest.raises(UsageError, match=refusal):
        start.execute(context)


def what_follows(action, code, stopping=False):
    """What the launch file does about an ending: new starts with their pauses, stops, words."""
    from launch import LaunchContext
    from launch.actions import LogInfo, Shutdown, TimerAction

    context = LaunchContext()
    context.is_shutdown = stopping
    entities = action.options["on_exit"](SimpleNamespace(returncode=code), context) or []
    words = [e.msg if isinstance(e, LogInfo) else e.reason for e in entities
             if isinstance(e, LogInfo | Shutdown)]  # fmt: skip
    pauses = [e.period for e in entities if isinstance(e, TimerAction)]
    again = [
        new
        for e in entities
        if isinstance(e, TimerAction)
        for inner in e.actions
        for new in inner.execute(context)
    ]
    ends = any(isinstance(e, Shutdown) for e in entities)
    return words, pauses, again, ends


@pytest.mark.parametrize(("file", "given"), CASES, ids=str)
@pytest.mark.parametrize("code", [0, 1, -9])
def test_launch_file_and_ate_launch_do_the_same_when_a_process_ends(
    file, given, code, launch_double, runtime_dir, monkeypatch
):
    monkeypatch.setattr("ate_bringup.preflight.refuse_to_launch", lambda *_: None)
    for spec, action in zip(FILES[file].processes(given), actions_of(file, given), strict=True):
        assert what_follows(action, code, stopping=True) == ([], [], [], False)
        restarts = Restarts(spec)
        for _ in range(3):
            verdict = restarts.ended(code, 0.0)
            (words,), pauses, again, ends = what_follows(action, code)
            assert words.endswith(verdict.text)
            assert ends == verdict.ends_launch
            assert pauses == ([] if verdict.restart_after is None else [verdict.restart_after])
            if again:
                (action,) = again


@pytest.fixture
def deployment(launch_double, runtime_dir, monkeypatch):
    """Processes by name, and what the launch does when it ends."""
    from launch.actions import RegisterEventHandler

    monkeypatch.setattr("ate_bringup.preflight.refuse_to_launch", lambda *_: None)
    entities = described(ROOT / "launch" / "deploy.launch.py")
    first = entities[0]  # launch asks the newest handlers first: processes are told to end before
    assert isinstance(first, RegisterEventHandler)
    actions = {action.name: action for action in started(entities, {"checkpoint": "x"})}
    return actions, lambda: first.event_handler.handle(None, None)


def test_a_launch_file_ends_with_an_error_after_a_failed_policy(deployment):
    actions, end = deployment
    assert what_follows(actions["policy"], 1)[3]
    with pytest.raises(AteError, match="policy has ended with code 1"):
        end()
    end()  # said once: launch may begin its shutdown anew after an error


def test_a_launch_file_ends_with_an_error_after_a_driver_was_given_up(deployment):
    actions, end = deployment
    again = [actions["estop"]]
    while again:
        (action,) = again
        words, _, again, ends = what_follows(action, -9)
        assert not ends
    assert "given up" in words[0]
    with pytest.raises(AteError, match=r"estop was killed by SIGKILL.* given up"):
        end()


def test_a_launch_file_ends_with_an_error_after_somebody_else_stopped_the_policy(deployment):
    actions, end = deployment
    assert what_follows(actions["policy"], 0)[3]
    with pytest.raises(AteError, match="policy was told to stop, not by the launch"):
        end()


def test_a_launch_file_that_a_person_ends_is_no_failure(deployment):
    actions, end = deployment
    what_follows(actions["monitor"], 1)  # started again
    what_follows(actions["estop"], -2, stopping=True)
    end()
