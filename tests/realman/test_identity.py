"""An arm that is not the one of the cell is refused by name, with the figure and the remedy."""

import dataclasses
import math
import time
from collections.abc import Callable, Iterator

import numpy as np
import pytest

from ate_core.contract import load_cell
from realman_driver.client import ArmClient
from realman_driver.identity import MODELS, misfit_of
from realman_driver.records import Identity

from .conftest import RunningController, arm_config

pytest.importorskip("Robotic_Arm")


def wait_for(condition: Callable[[], bool], seconds: float = 5.0) -> bool:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.005)
    return True


@pytest.fixture
def connect(controller: RunningController) -> Iterator[Callable[[], ArmClient]]:
    """Connects a client to the emulated controller."""
    clients: list[ArmClient] = []

    def start() -> ArmClient:
        clients.append(ArmClient(arm_config(controller.config)))
        clients[-1].start()
        return clients[-1]

    yield start
    for client in clients:
        client.close()


def test_the_cells_arm_fits(connect: Callable[[], ArmClient]) -> None:
    client = connect()
    assert wait_for(lambda: not client.link_error)
    identity = client.identity()
    assert identity.misfit == ""
    assert (identity.model, identity.firmware, identity.joints) == ("RM75-6F", "V1.7.0", 7)
    assert identity.upper is not None
    np.testing.assert_allclose(np.degrees(identity.upper[:2]), [178.0, 130.0])


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("product", "RM75-B", ["RM75-B", "6F", "check the ip"]),
        ("d7", 144000, ["d7 [m] 0.144", "0.1725", "check the ip"]),
        ("firmware", "V1.5.9", ["V1.5.9", "V1.6.3", "update"]),
        ("max_speed", 15000, ["1.57 rad/s", "3.14 rad/s", "raise it"]),
        ("install", 90, ["installed at [90.0, 0.0, 0.0] deg", "base_pose is upright"]),
        ("install", 1, ["installed at [1.0, 0.0, 0.0] deg", "1.0 from upright", "bound 0.1"]),
        ("work_frame", 100000, ["0.1", "choose World"]),
    ],
)
def test_another_arm_is_named_with_field_value_and_remedy(
    connect: Callable[[], ArmClient], controller: RunningController, field, value, words
) -> None:
    controller.control.fault("identity", field=field, value=value)
    client = connect()
    for word in words:
        assert wait_for(lambda word=word: word in client.identity().misfit), client.link_error
        assert wait_for(lambda word=word: word in client.link_error), client.link_error


def test_a_controller_that_is_another_one_is_left_as_it_is(
    connect: Callable[[], ArmClient], controller: RunningController
) -> None:
    controller.control.fault("tool", tool_name="welder", payload=3000)
    controller.control.fault("identity", field="product", value="RM75-B")
    before = controller.control.status()
    client = connect()
    assert wait_for(lambda: "RM75-B" in client.link_error), client.link_error
    assert wait_for(lambda: client.health()["link processes started"] != "1")
    assert not client.stop() and not client.stop(fast=True)
    after = controller.control.status()
    assert after["written"] == []
    assert after["tool"] == before["tool"]
    controller.control.fault("identity", field="product", value="RM75-6F")
    assert wait_for(lambda: not client.link_error), client.link_error
    assert "set_realtime_push" in controller.control.status()["written"]


TILTS = {"x": (1.0, 0.0, 0.0), "y": (0.0, 1.0, 0.0), "z": (0.0, 0.0, 1.0)}


def told_by(controller_install: tuple[float, float, float]) -> Identity:
    """What the cell's arm says of itself, installed at some angles [deg]."""
    model, seven = MODELS["rm75_6f"], (0.0,) * 7
    table = [number for d in model.d for number in (0.0, 0.0, d, 0.0)]
    return Identity(
        product="RM75-6F",
        model=model.model,
        force_type=model.force_type,
        firmware="V1.7.0",
        work_frame="World",
        tool="Arm_Tip",
        generation=3,
        joints=7,
        lower=seven,
        upper=seven,
        speed=(225.0,) * 7,
        acceleration=(600.0,) * 7,
        dh=tuple(table),
        work_pose=(0.0,) * 6,
        tool_pose=(0.0,) * 6,
        load=(0.0,) * 4,
        install=controller_install,
    )


@pytest.mark.parametrize(
    ("axis", "angle", "install", "fits"),
    [
        ("z", 90.0, (0.0, 0.0, 0.0), True),
        ("z", 0.0, (0.0, 0.0, 90.0), True),
        ("x", 0.0, (180.0, 180.0, 0.0), True),
        ("x", 2.0, (0.0, 0.0, 0.0), True),
        ("x", 45.0, (45.0, 0.0, 0.0), True),
        ("x", 45.0, (45.0, 0.0, 30.0), True),
        ("x", 44.2, (45.0, 0.0, 0.0), True),
        ("x", 180.0, (0.0, 180.0, 0.0), True),
        ("y", -90.0, (0.0, -90.0, 0.0), True),
        ("x", 45.0, (30.0, 0.0, 0.0), False),
        ("x", 45.0, (0.0, 0.0, 0.0), False),
        ("x", 3.0, (0.0, 0.0, 0.0), False),
        ("x", 2.0, (2.0, 0.0, 0.0), False),
        ("x", 0.0, (0.0, 90.0, 0.0), False),
        ("x", 0.0, (math.nan, 0.0, 0.0), False),
    ],
)
def test_an_arm_is_installed_at_the_tilt_of_its_base(axis, angle, install, fits) -> None:
    half = math.radians(angle) / 2.0
    turn = [math.sin(half) * part for part in TILTS[axis]] + [math.cos(half)]
    arm = load_cell(None, "sim").arms["left"]
    arm = dataclasses.replace(arm, base_pose=(0.0, 0.25, 0.0, *turn))
    misfit = misfit_of(told_by(install), arm)
    assert (misfit == "") == fits, misfit
    assert fits or ("installed at" in misfit and "correct one of the two" in misfit)


def test_a_driver_moves_no_arm_that_is_another_one(make_rig, controller) -> None:
    controller.control.fault("identity", field="d7", value=144000)
    rig = make_rig(arm_config(controller.config))
    assert rig.wait_for_state("fault")
    assert "d7" in rig.status.reason
    assert "d7" in rig.command(np.array(rig.config.home))
    assert controller.control.status()["frames"] == 0


@pytest.mark.parametrize(
    ("field", "value", "word"), [("run_mode", 0, "simulation mode"), ("power", 0, "power off")]
)
def test_controller_that_would_not_move_is_waited_for(
    connect: Callable[[], ArmClient], controller: RunningController, field, value, word
) -> None:
    controller.control.fault("identity", field=field, value=value)
    client = connect()
    assert wait_for(lambda: word in client.link_error), client.link_error
    controller.control.fault("identity", field=field, value=1)
    assert wait_for(lambda: not client.link_error), client.link_error


@pytest.mark.parametrize(
    "stored", [{"payload": 1200}, {"length": 90000}, {"payload": 0, "length": 0}]
)
def test_tool_of_the_same_name_with_other_figures_is_updated(
    connect: Callable[[], ArmClient], controller: RunningController, stored: dict[str, float]
) -> None:
    controller.control.fault("tool", **stored)
    client = connect()
    assert wait_for(lambda: not client.link_error), client.link_error
    assert controller.control.status()["tool"] == {
        "tool_name": "gripper",
        "pose": [0, 0, 160000, 0, 0, 0],
        "payload": 430,
        "position": [0, 0, 80000],
    }


def test_tool_that_cannot_be_changed_is_refused_with_its_figures(
    connect: Callable[[], ArmClient], controller: RunningController
) -> None:
    controller.control.fault("tool", payload=1200)
    controller.control.fault("lock_tools")
    client = connect()
    assert wait_for(lambda: "payload [kg] is 1.2, the cell says 0.43" in client.link_error)
    assert "delete it on the pendant" in client.link_error
