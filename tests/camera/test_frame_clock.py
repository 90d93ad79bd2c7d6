"""The age of frames: old ones stay old, whatever the clocks do."""

import pytest

from realsense_camera.frame_clock import FrameClock

MS, SECOND = 1_000_000, 1_000_000_000
PERIOD = SECOND // 30
WALL = 1_700_000_000 * SECOND
"""Wall time at monotonic time 0."""


class Camera:
    """A camera whose stamps follow a clock by an offset; times are monotonic [ns]."""

    def __init__(self, stamps: int | None = WALL, clock: int = WALL) -> None:
        self.now = 1000 * SECOND
        self.stamps, self.clock = stamps, clock
        self.frames = FrameClock(30, self.now + clock, self.now)

    def deliver(self, after: int = PERIOD, age: int = 5 * MS) -> int | None:
        self.now += after
        stamp = None if self.stamps is None else self.now - age + self.stamps
        return self.frames.age_ns(stamp, self.now + self.clock, self.now)

    def run(self, seconds: float, age: int = 5 * MS) -> list[int | None]:
        return [self.deliver(age=age) for _ in range(int(seconds * 30))]


@pytest.mark.parametrize("clock", [WALL, 0], ids=["wall", "monotonic"])
@pytest.mark.parametrize("age_ms", [5, 900, 990, 1010, 1500, 9000])
@pytest.mark.parametrize("before", [0, 30], ids=["first frame", "after others"])
def test_old_frame_keeps_its_age(clock: int, age_ms: int, before: int) -> None:
    camera = Camera(stamps=clock, clock=clock)
    for _ in range(before):
        assert camera.deliver() == 5 * MS
    assert camera.deliver(after=age_ms * MS, age=age_ms * MS) == age_ms * MS


@pytest.mark.parametrize("stamps", [None, -1000 * SECOND, WALL + 3600 * SECOND], ids=str)
def test_camera_with_another_clock_is_stamped_at_its_arrival(stamps: int | None) -> None:
    assert Camera(stamps=stamps).run(2.0) == [0] * 60


@pytest.mark.parametrize("stamps", [None, -1000 * SECOND])
@pytest.mark.parametrize(
    ("waiting", "read_ms"), [(100, 3), (5, 25), (0, 0)], ids=["many", "slowly read", "none"]
)
def test_what_waited_is_dropped_where_nobody_knows_its_age(
    stamps: int | None, waiting: int, read_ms: int
) -> None:
    camera = Camera(stamps=stamps)
    camera.run(1.0)
    assert camera.deliver(after=1500 * MS) is None
    assert [camera.deliver(after=read_ms * MS) for _ in range(waiting)] == [None] * waiting
    assert camera.run(1.0).count(None) < 8  # soon it is clear that nothing waits any more
    assert camera.run(1.0) == [0] * 30


def test_camera_slower_than_wanted_makes_no_pauses() -> None:
    camera = Camera(stamps=None)
    assert [camera.deliver(after=SECOND) for _ in range(10)][2:] == [0] * 8


@pytest.mark.parametrize("step", [-3600 * SECOND, -2 * SECOND, 2 * SECOND, 3600 * SECOND])
@pytest.mark.parametrize("follows", [0, 30, 200], ids=["at once", "after 1 s", "after 7 s"])
def test_step_of_the_wall_clock_makes_no_frame_old(step: int, follows: int) -> None:
    camera = Camera()
    camera.run(1.0)
    camera.clock += step
    ages = camera.run(follows / 30)
    camera.stamps = WALL + step
    assert set(ages + camera.run(20.0)) == {5 * MS}


def test_stamps_between_two_clocks_give_way_to_the_arrival() -> None:
    camera = Camera()
    camera.run(1.0)
    camera.clock += 3600 * SECOND
    camera.stamps = WALL + 1800 * SECOND
    assert camera.run(1.0) == [0] * 30


@pytest.mark.parametrize("step", [0, 1500 * MS, 3600 * SECOND, -1500 * MS])
def test_old_frame_is_not_taken_for_a_step_of_the_wall_clock(step: int) -> None:
    camera = Camera()
    camera.run(1.0)
    camera.clock += step
    age = camera.deliver(after=1500 * MS, age=1500 * MS)
    assert age == 1500 * MS if step == 0 else age is None


def test_frame_that_no_waiting_explains_is_dropped_on_a_known_clock() -> None:
    camera = Camera(stamps=0, clock=0)
    camera.run(1.0)
    camera.stamps = -500 * SECOND
    assert camera.run(1.0) == [None] * 30


def test_stamp_ahead_of_a_known_clock_gives_way_to_the_arrival() -> None:
    camera = Camera()
    camera.run(1.0)
    assert camera.deliver(age=-500 * MS) == 0
