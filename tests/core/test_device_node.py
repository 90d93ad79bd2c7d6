"""Lifecycle of a driver: inactive until checked, one process per device, reasons told."""

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator

import pytest

rclpy = pytest.importorskip("rclpy")
pytestmark = pytest.mark.ros

from lifecycle_msgs.msg import Transition  # noqa: E402
from lifecycle_msgs.srv import ChangeState  # noqa: E402
from rclpy.executors import SingleThreadedExecutor  # noqa: E402
from rclpy.lifecycle import TransitionCallbackReturn  # noqa: E402
from rclpy.parameter import Parameter  # noqa: E402

from ate_core.device_names import resolve  # noqa: E402
from ate_core.nodes.claim import DeviceClaim, in_domain  # noqa: E402
from ate_core.nodes.device_node import DeviceNode  # noqa: E402

SUCCESS, FAILURE, ERROR = (
    TransitionCallbackReturn.SUCCESS,
    TransitionCallbackReturn.FAILURE,
    TransitionCallbackReturn.ERROR,
)


class Lamp(DeviceNode):
    """A device that is linked when the test says so."""

    def __init__(self, autostart: bool = False) -> None:
        overrides = [Parameter("autostart", value=autostart)]
        super().__init__("lamp", parameter_overrides=overrides)
        self.problem, self.begun, self.orders = "no lamp", 0, []
        self.raises = False

    def begin(self) -> None:
        self.begun += 1

    def link_problem(self) -> str:
        return self.problem

    def set_active(self, active: bool) -> None:
        self.orders.append(active)
        if self.raises:
            raise ZeroDivisionError("the lamp has no filament")


@pytest.fixture
def make():
    rclpy.init()
    executor, nodes = SingleThreadedExecutor(), []

    def build(autostart: bool = False, device: str = "") -> Lamp:
        nodes.append(Lamp(autostart))
        executor.add_node(nodes[-1])
        nodes[-1].manage("/left/lamp", lambda: device)
        return nodes[-1]

    build.executor = executor
    yield build
    executor.shutdown()
    for node in nodes:
        node.release_device()
        node.destroy_node()
    rclpy.try_shutdown()


def test_configuring_fails_with_the_reason_until_the_device_is_linked(make) -> None:
    lamp = make()
    assert lamp.trigger_configure() == FAILURE
    assert (lamp.state_label, lamp.inactive_reason) == ("unconfigured", "no lamp")
    lamp.problem = ""
    assert lamp.trigger_configure() == SUCCESS
    assert lamp.inactive_reason == "inactive: checked"
    assert not lamp.orders  # nothing is accepted before it is active
    assert lamp.trigger_activate() == SUCCESS
    assert lamp.is_active
    assert lamp.inactive_reason == ""
    assert lamp.trigger_deactivate() == SUCCESS
    assert lamp.orders == [True, False]
    assert lamp.begun == 1


def test_a_node_that_starts_itself_keeps_trying_and_stays_inactive_when_told(make) -> None:
    lamp = make(autostart=True)
    for _ in range(3):
        make.executor.spin_once(timeout_sec=0.5)
    assert lamp.state_label == "unconfigured"
    lamp.problem = ""
    while not lamp.is_active:
        make.executor.spin_once(timeout_sec=1.0)
    lamp.trigger_deactivate()
    for _ in range(3):
        make.executor.spin_once(timeout_sec=0.25)
    assert lamp.state_label == "inactive"


def test_a_second_driver_of_one_device_is_refused_and_does_not_touch_it(make) -> None:
    first, second = make(), make()
    first.problem = second.problem = ""
    assert first.trigger_configure() == SUCCESS
    assert second.trigger_configure() == FAILURE
    assert "already uses /left/lamp" in second.inactive_reason
    assert "started twice" in second.inactive_reason
    assert (first.begun, second.begun) == (1, 0)
    first.release_device()
    assert second.trigger_configure() == SUCCESS


@contextlib.contextmanager
def holder_of(name: str, user: int = os.geteuid()) -> Iterator["subprocess.Popen[str]"]:
    """A process of its own, of this user, that has claimed this name."""
    words = (
        "import os, sys; from ate_core.nodes.claim import DeviceClaim;"
        f"os.setuid({user});"
        f"claim = DeviceClaim(lambda: [{name!r}]);"
        "print(claim.take(), flush=True); sys.stdin.read()"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", words],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "\n"
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def test_the_device_of_a_killed_process_is_free_at_once_and_its_holder_was_named() -> None:
    claim = DeviceClaim(lambda: ["lamp"])
    with holder_of("lamp") as holder:
        assert f"process {holder.pid} already uses lamp" in claim.take()
    assert claim.take() == ""
    claim.release()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may start a process of another user")
def test_the_device_of_another_user_is_not_taken() -> None:
    claim = DeviceClaim(lambda: ["lamp"])
    with holder_of("lamp", user=65534) as holder:
        assert f"process {holder.pid} already uses lamp" in claim.take()


def test_who_lacks_one_of_its_names_takes_none() -> None:
    first, second = DeviceClaim(lambda: ["lamp"]), DeviceClaim(lambda: ["", "socket", "lamp"])
    third = DeviceClaim(lambda: ["socket"])
    assert first.take() == ""
    assert "already uses lamp" in second.take()
    assert third.take() == ""
    for claim in (first, third):
        claim.release()
    assert second.take() == ""
    second.release()


def test_a_device_is_claimed_in_all_domains_and_a_name_in_its_own(make) -> None:
    lamp = make(device="camera 4711")
    lamp.problem = ""
    assert lamp.trigger_configure() == SUCCESS
    elsewhere = lamp.context.get_domain_id() + 1
    other_cell = DeviceClaim(lambda: [in_domain("/left/lamp", elsewhere)])
    same_device = DeviceClaim(lambda: [in_domain("/right/lamp", elsewhere), "camera 4711"])
    assert other_cell.take() == ""
    assert "already uses camera 4711" in same_device.take()
    other_cell.release()


def test_a_port_that_is_plugged_in_later_is_claimed_by_its_other_name_too(tmp_path) -> None:
    port, link = tmp_path / "ttyUSB0", tmp_path / "by-id"
    claim, other = (DeviceClaim(lambda name=name: [resolve(str(name))]) for name in (link, port))
    assert claim.take() == ""
    link.symlink_to(port)
    assert claim.take() == ""
    assert "already uses" in other.take()
    claim.release()


def test_drivers_whose_ports_exchange_their_numbers_each_claim_their_own_again(tmp_path) -> None:
    def lead(left: str, right: str) -> None:
        for side, number in (("left", left), ("right", right)):
            (tmp_path / side).unlink(missing_ok=True)
            (tmp_path / side).symlink_to(tmp_path / number)

    def claim(side: str) -> DeviceClaim:
        return DeviceClaim(lambda: [side, resolve(str(tmp_path / side))])

    lead("ttyUSB0", "ttyUSB1")
    left, right = claim("left"), claim("right")
    assert left.take() == right.take() == ""
    lead("ttyUSB1", "ttyUSB0")
    assert "already uses" in left.take(), "the right driver has not looked yet"
    assert "already uses left" in claim("left").take(), "who waits keeps its other names"
    assert right.take() == left.take() == ""
    assert "already uses" in DeviceClaim(lambda: [str(tmp_path / "ttyUSB0")]).take()
    right.release()
    again = claim("right")
    assert again.take() == ""
    (tmp_path / "left").unlink()  # its adapter is pulled out, and its number is given to another
    lead_on = DeviceClaim(lambda: [str(tmp_path / "ttyUSB1")])
    assert "already uses" in lead_on.take()
    assert left.take() == lead_on.take() == ""
    for one in (left, again, lead_on):
        one.release()


def test_a_driver_asks_for_its_device_before_each_opening(make) -> None:
    name = ["camera 1"]
    lamp = Lamp()
    assert lamp.claim_device(), "not before it is managed"
    lamp.destroy_node()
    lamp = make()
    lamp._claim.release()
    lamp.manage("/left/lamp", lambda: name[0])
    lamp.problem = ""
    assert lamp.trigger_configure() == SUCCESS
    name[0] = "camera 2"
    assert lamp.claim_device() == ""
    other = DeviceClaim(lambda: ["camera 1"])
    assert other.take() == ""
    name[0] = "camera 1"
    assert "already uses camera 1" in lamp.claim_device()
    other.release()
    assert lamp.claim_device() == ""


def test_a_transition_that_raises_is_told_and_leaves_the_node_unconfigured(make) -> None:
    lamp = make()
    lamp.problem = ""
    lamp.trigger_configure()
    lamp.raises = True
    assert lamp.trigger_activate() == ERROR
    assert "the lamp has no filament" in lamp.inactive_reason
    assert lamp.state_label != "active"


def test_a_transition_that_the_state_does_not_have_is_answered_with_no(make) -> None:
    lamp = make()
    lamp.problem = ""

    def change(number: int = 0, label: str = "") -> bool:
        request = ChangeState.Request(transition=Transition(id=number, label=label))
        return lamp._service_change_state.callback(request, ChangeState.Response()).success

    assert not change(label="activate")  # not configured yet
    assert change(label="configure")
    for _ in range(2):
        assert not change(Transition.TRANSITION_CONFIGURE)
        assert not change(99)
        assert not change(label="fly")
    assert change(Transition.TRANSITION_ACTIVATE)
    assert not change(Transition.TRANSITION_ACTIVATE)
    assert lamp.orders == [True]
    assert lamp.is_active
