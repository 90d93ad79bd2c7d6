"""What the driver of any arm does, with a back end that has no arm, six joints or seven."""

import dataclasses
import threading

import numpy as np

from arm_driver import clearing
from arm_driver.interface import ArmIdentity, misfit
from arm_driver.latch import FAULT, SERVICE
from ate_core.stop_latch import StopLatch


def test_an_arm_told_to_stay_where_it_stands_stays(bench) -> None:
    start = bench.backend.q.copy()
    status = bench.run(100, target=start)
    assert status.state == "tracking"
    assert len(bench.backend.sent) >= 98
    np.testing.assert_array_equal(bench.backend.sent, np.tile(start, (len(bench.backend.sent), 1)))


def test_joints_may_come_in_any_order_but_must_all_come(bench) -> None:
    bench.run()
    names = list(bench.arm.joint_names)[::-1]
    target = list(bench.backend.q)[::-1]
    accepted = bench.driver.command(names, target, "teleop", bench.now, bench.now)
    assert accepted.accepted
    verdict = bench.driver.command(names[1:], target[1:], "teleop", bench.now, bench.now)
    assert "need" in verdict.reason and bench.driver.refused == 1


def test_a_fault_brakes_once_and_lasts_until_cleared_and_enabled(bench) -> None:
    bench.run(5, target=bench.backend.q)
    bench.backend.fault = "hot"
    assert bench.run(5, target=bench.backend.q).state == "fault"
    assert bench.stopped(1)
    assert "clear_errors first" in bench.driver.enable()
    bench.backend.fault = ""
    assert bench.run(5).state == "fault"
    assert bench.clear() == ""
    status = bench.run(2)
    assert (status.state, status.reason) == ("stopped", "cleared: hot; call arm/enable")
    assert bench.driver.enable() == ""
    assert bench.run(2).state == "connected"


def test_clearing_fails_in_time_while_the_fault_persists_and_never_resumes_later(
    bench, monkeypatch
) -> None:
    monkeypatch.setattr(clearing, "CHECK_TIMEOUT", 0.2)
    bench.backend.fault, bench.backend.fault_persists = "hot", True
    bench.run(3)
    assert "hot: still reported" in bench.clear()
    bench.backend.fault = ""  # it vanishes by itself, while a commander keeps on sending
    bench.backend.sent.clear()
    assert bench.run(50, target=bench.backend.q + 0.1).state == "fault"
    assert not bench.backend.sent


def test_a_device_that_does_not_answer_a_clearing_is_named_in_time(bench, monkeypatch) -> None:
    monkeypatch.setattr(clearing, "CALL_TIMEOUT", 0.05)
    bench.backend.may["clear_errors"] = threading.Event()
    assert "did not answer" in bench.driver.clear_errors()
    assert "being cleared already" in bench.driver.clear_errors()
    bench.backend.may["clear_errors"].set()


def test_clearing_needs_fresh_states_to_succeed(bench, monkeypatch) -> None:
    monkeypatch.setattr(clearing, "CHECK_TIMEOUT", 0.1)
    bench.backend.fault = "hot"
    bench.run(3)
    bench.backend.silent = True
    assert "no fresh state" in bench.clear()
    assert bench.run(1).state == "fault"


def test_clearing_a_fault_does_not_end_a_stop(bench) -> None:
    bench.run(2)
    assert bench.beside(lambda: bench.driver.stop("stopped by hand"))
    bench.backend.fault = "hot"
    assert bench.run(2).state == "fault"
    assert bench.clear() == ""
    status = bench.run(2)
    assert (status.state, status.reason) == ("stopped", "stopped by hand")
    assert bench.driver.enable() == ""
    assert bench.run(2).state == "connected"


def test_a_device_that_refuses_clearing_is_reported(bench) -> None:
    bench.backend.refuses_clearing = True
    assert bench.driver.clear_errors() == "the device refused"


def test_a_device_with_other_joints_is_never_driven(bench) -> None:
    bench.backend.known = ArmIdentity(name="fake", joints=5)
    status = bench.run(5, target=bench.backend.q)
    assert status.state == "fault" and "fake has 5 joints" in status.reason
    assert not bench.backend.sent


def test_a_device_with_narrower_limits_is_named_with_its_joint(bench) -> None:
    arm = bench.arm
    upper = np.array(arm.joint_upper)
    known = ArmIdentity(name="fake", lower=np.array(arm.joint_lower), upper=upper)
    assert misfit(known, arm, 0.02) == ""
    upper = upper.copy()
    upper[1] -= 0.1
    reason = misfit(dataclasses.replace(known, upper=upper), arm, 0.02)
    assert "left_joint2" in reason and "correct one of the two" in reason


def test_stops_end_one_by_one() -> None:
    stops = StopLatch()
    assert stops.set(SERVICE, "by hand") and not stops.set(SERVICE, "by hand again")
    assert stops.set(FAULT, "hot")
    stops.release(FAULT)
    assert stops.reason == "by hand again"
    stops.release(SERVICE)
    assert stops.reason == ""
