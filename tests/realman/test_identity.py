"""An arm that is not the one of the cell is refused by name, with the figure and the remedy."""

import time
from collections.abc import Callable, Iterator

import numpy as np
import pytest

from realman_driver.client import ArmClient

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
        ("work_frame", 100000, ["0.1", "choose World"]),
    ],
)
def test_another_arm_is_named_with_field_value_and_remedy(
    connect: Callable[[], ArmClient], controller: RunningController, field, value, words
) -> None:
    controller.control.fault("identity", field=field, value=value)
    client = connect()
    assert wait_for(lambda: not client.link_error), client.link_error
    for word in words:
        assert word in client.identity().misfit


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
