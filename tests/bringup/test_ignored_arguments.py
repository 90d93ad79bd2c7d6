"""An argument of a launch changes what is started, or is refused; none is ignored in silence."""

import functools
import itertools

import pytest

from ate_bringup import launches
from ate_bringup.cli import main
from ate_bringup.launches import LAUNCHES
from ate_core.errors import UsageError

OTHERS = {
    "cell": "six_axis", "task": "cook_bun", "cockpit_score": "s", "report": "r.jsonl",
    "output": "elsewhere", "instruction": "lift the lid", "operator": "ada",
    "hands_record": "hands", "calibrations": "people", "perturbation": "light_low",
    "checkpoint": "other", "policy_server": "ws://y:2", "policy_token": "token",
    "policy_keys": "keys.yaml", "device": "cpu", "summary": "s.json",
}  # fmt: skip
"""Value of an argument, other than its default, that is allowed by itself."""
FLAGS = {"cockpit": "true", "cameras": "false", "operators": "true", "record": "true"}
SERVER = {"policy_server": "ws://x:1"}
"""A deployment with the policy elsewhere."""


def other_than(argument, value):
    if argument.choices:
        return next(choice for choice in argument.choices if choice != value)
    if argument.is_count:
        return str(int(value) + 7)
    return "0.3" if argument.is_share else OTHERS[argument.name]


def modes(launch):
    """Combinations of what decides on what others mean; of the flags one at a time."""
    names = [argument.name for argument in launch.arguments]
    flags = [{name: value} for name, value in FLAGS.items() if name in names]
    choices = [
        [{"hardware": "sim"}, {"hardware": "real"}],
        [{}, *flags],
        [{}, {"hands": "replay"}] if "hands" in names else [{}],
        [{}, {"episodes": "3"}] if "episodes" in names else [{}],
        [{"checkpoint": "x"}, SERVER] if "checkpoint" in names else [{}],
    ]
    for parts in itertools.product(*choices):
        yield {name: value for part in parts for name, value in part.items()}


def started(launch, given):
    """What is started, as one text; None: it is refused."""
    try:
        specs = launch.processes(given)
    except UsageError:
        return None
    return repr(specs)


@pytest.mark.parametrize("name", LAUNCHES)
def test_no_argument_is_ignored_in_any_mode(name, runtime_dir, monkeypatch):
    monkeypatch.setattr(launches, "load_cell", functools.cache(launches.load_cell))
    launch = LAUNCHES[name]
    ignored, tried = [], 0
    for mode in modes(launch):
        without = started(launch, mode)
        if without is None:
            continue
        for argument in launch.arguments:
            if argument.name in mode:
                continue
            value = other_than(argument, argument.default)
            tried += 1
            if started(launch, {**mode, argument.name: value}) == without:
                ignored.append(f"{mode}: {argument.name}:={value}")
    assert tried
    assert not ignored


@pytest.mark.parametrize("default", [False, True])
@pytest.mark.parametrize("name", [name for name in LAUNCHES if name != "view"])
def test_a_seed_on_real_devices_is_refused_unless_it_is_the_default(name, default):
    launch = LAUNCHES[name]
    seed = next(one.default for one in launch.arguments if one.name == "seed")
    given = {"checkpoint": "x"} if name == "deploy" else {}
    if default:  # `ros2 launch` hands all values on
        assert launch.resolve({**given, "seed": seed})
        return
    with pytest.raises(UsageError, match="seed:=7 says nothing without hardware:=sim"):
        launch.resolve({**given, "seed": "7"})


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["launch/robot.launch.py", "task:=cook_bun"], "drivers alone know no task"),
        (["launch/robot.launch.py", "cockpit_port:=9"], "without cockpit:=true: give both"),
        (["launch/record.launch.py", "mistakes:=0.3"], "people make their own"),
        (["launch/record.launch.py", "hardware:=sim", "mistakes:=0.3"], "without episodes:=20"),
        (["launch/record.launch.py", "episodes:=3"], "without hardware:=sim"),
        (["launch/record.launch.py", "hands:=replay", "output:=b"], "replay of hands is not"),
        (
            ["launch/deploy.launch.py", "checkpoint:=x", "task:=cook_bun"],
            "task:=cook_bun says nothing without hardware:=sim or record:=true",
        ),
    ],
)
def test_what_would_be_ignored_is_named_with_what_it_belongs_to(words, message, capsys):
    assert main(["launch", *words]) == 1
    assert message in capsys.readouterr().err
