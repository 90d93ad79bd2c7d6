"""What the driver of any arm does, with a back end that has no arm, six joints or seven."""

import dataclasses

import numpy as np

from arm_driver.interface import ArmIdentity, misfit
from arm_driver.latch import FAULT, SERVICE, StopLatch


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


def test_homing_ends_at_home_with_the_arm_free(bench) -> None:
    bench.backend.q = bench.backend.q + 0.1
    bench.run()
    assert bench.driver.home(bench.now) == ""
    states = {bench.run().state for _ in range(300)}
    assert "homing" in states
    np.testing.assert_allclose(bench.backend.q, bench.arm.home, atol=1e-3)


def test_a_fault_brakes_once_and_lasts_until_it_is_cleared(bench) -> None:
    bench.run(5, target=bench.backend.q)
    bench.backend.fault = "hot"
    assert bench.run(5, target=bench.backend.q).state == "fault"
    assert bench.backend.stops == 1
    assert "clear_errors first" in bench.driver.enable()
    bench.backend.fault = ""
    assert bench.run(5).state == "fault"
    assert bench.driver.clear_errors() == ""
    assert bench.run(2).state == "connected"


def test_clearing_a_fault_does_not_end_a_stop(bench) -> None:
    bench.run(2)
    assert bench.driver.stop("stopped by hand")
    bench.backend.fault = "hot"
    assert bench.run(2).state == "fault"
    assert bench.driver.clear_errors() == ""
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
