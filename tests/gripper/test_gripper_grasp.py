"""What the reports tell about an object between the fingers."""

from omnipicker_driver.grasp import SETTLE_TIME, GraspWatch, ObjectState
from omnipicker_driver.protocol import Motion, Report

PERIOD = 0.02
PRESSING = Report(position=0.4, force=0.5, motion=Motion.BLOCKED)


class Gripper:
    """A watch and its clock."""

    def __init__(self) -> None:
        self.watch, self.now = GraspWatch(), 0.0

    def tell(self, report: Report, target: float | None, seconds: float = 0.2) -> ObjectState:
        """Report the same again and again."""
        for _ in range(round(seconds / PERIOD)):
            self.now += PERIOD
            grasp = self.watch.take(report, target, self.now)
        return grasp.object


def held() -> Gripper:
    gripper = Gripper()
    assert gripper.tell(PRESSING, 0.0) is ObjectState.HELD
    return gripper


def test_blocked_fingers_that_press_hold_an_object_after_a_moment() -> None:
    watch = GraspWatch()
    assert not watch.take(PRESSING, 0.0, 0.0).holding
    grasp = watch.take(PRESSING, 0.0, SETTLE_TIME)
    assert (grasp.object, grasp.opening, grasp.force) == (ObjectState.HELD, 0.4, 0.5)


def test_fingers_blocked_while_opening_or_without_force_hold_nothing() -> None:
    weak = Report(position=0.4, force=0.0, motion=Motion.BLOCKED)
    assert Gripper().tell(PRESSING, 1.0) is ObjectState.NONE
    assert Gripper().tell(weak, 0.0) is ObjectState.NONE


def test_blocked_fingers_of_unknown_target_are_believed() -> None:
    assert Gripper().tell(PRESSING, None) is ObjectState.HELD


def test_object_that_slips_out_is_lost_until_the_gripper_is_opened() -> None:
    told = held()
    assert told.tell(Report(position=0.39, motion=Motion.LOST_OBJECT), 0.0) is ObjectState.LOST
    assert told.tell(Report(position=0.0, motion=Motion.REACHED), 0.0) is ObjectState.LOST
    assert told.tell(Report(position=0.2, motion=Motion.MOVING), 1.0) is ObjectState.NONE
    untold = held()
    assert untold.tell(Report(position=0.2, motion=Motion.MOVING), 0.0) is ObjectState.LOST


def test_opening_lets_an_object_go_and_loses_none() -> None:
    assert held().tell(Report(position=0.5, motion=Motion.MOVING), 1.0) is ObjectState.NONE


def test_soft_object_is_followed_while_it_gives_way() -> None:
    gripper = held()
    softer = Report(position=0.3, force=0.5, motion=Motion.BLOCKED)
    assert gripper.watch.take(softer, 0.0, gripper.now + PERIOD).opening == 0.3
