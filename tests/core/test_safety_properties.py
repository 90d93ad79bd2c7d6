"""What holds for every sequence of commands, feedback, gaps, clocks, stops and resets.

A recorder stands where the controller stands: it gets the targets at their true times and looks at
their divided differences, which are means of speed, acceleration and jerk.
"""

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ate_core.contract import SafetyConfig, load_cell
from ate_core.motion_guard import GuardVerdict, StoppingPosture
from ate_core.motion_limits import MotionLimits, SetPoint
from ate_core.safety import (
    LONGEST_STEP,
    SHORTEST_STEP,
    FilterOutput,
    FilterState,
    JointCommand,
    SafetyFilter,
)
from ate_core.stream_wall import LONGEST_ADVANCE

CONFIG = SafetyConfig()
ARM = load_cell().arms["left"]
LOWER, UPPER = (np.array(bound) for bound in ARM.bounds(CONFIG.position_margin))
SPEED = np.minimum(ARM.joint_speed, CONFIG.max_joint_speed)
START = np.array(ARM.home)
JOINTS = len(START)
TICK = 0.01
BRAKING = 0.2
"""Longest time from full speed to rest [s]."""
CALM = {"deadline": None, "derandomize": True, "suppress_health_check": [HealthCheck.too_slow]}
"""A busy machine changes neither the examples nor the verdict."""
FEW = settings(max_examples=20, **CALM)
SETTINGS = settings(max_examples=300, **CALM)


class Recorder:
    """The controller's end of the stream."""

    def __init__(self) -> None:
        self.targets: list[np.ndarray] = []
        self.times: list[float] = []

    def begin(self, seed: np.ndarray, now: float) -> None:
        """A motion begins at rest where the arm was measured."""
        self.targets, self.times = [seed] * 3, [now - 2 * TICK, now - TICK, now]

    def take(self, target: np.ndarray, elapsed: float) -> None:
        """Record one target; a late one takes the arm no further than one of three periods."""
        self.times.append(self.times[-1] + min(elapsed, LONGEST_ADVANCE))
        self.targets.append(target)

    def stand(self, now: float) -> None:
        """Nothing could be sent for so long that the arm stands; it goes on from there."""
        self.check()
        if self.targets:
            self.begin(self.targets[-1], now - TICK)

    def forget(self) -> None:
        """What comes is another motion."""
        self.check()
        self.targets, self.times = [], []

    def check(self) -> None:
        """Every change lies within position, speed, acceleration and jerk."""
        if len(self.targets) < 4:
            return
        t, q = np.array(self.times)[:, None], np.array(self.targets)
        assert np.all(q >= np.minimum(LOWER, q[0]) - 1e-9)
        assert np.all(q <= np.maximum(UPPER, q[0]) + 1e-9)
        speed = np.diff(q, axis=0) / np.diff(t, axis=0)
        half_acceleration = np.diff(speed, axis=0) / (t[2:] - t[:-2])
        sixth_of_jerk = np.diff(half_acceleration, axis=0) / (t[3:] - t[:-3])
        assert np.all(np.abs(speed) <= SPEED + 1e-6)
        assert np.abs(half_acceleration).max() * 2 <= CONFIG.max_joint_acceleration + 1e-3
        assert np.abs(sixth_of_jerk).max() * 6 <= CONFIG.max_joint_jerk + 1.0


class World:
    """A filter, an arm that may misbehave, and the clock that the filter is told."""

    def __init__(self, guard: object = None) -> None:
        self.filter = SafetyFilter(CONFIG, ARM, guard)
        self.recorder = Recorder()
        self.now = 100.0
        self.clock_error = 0.0
        self.dt = TICK
        self.pending = 0.0  # steps too short to move, since the last that was not
        self.q = START.copy()
        self.offset = np.zeros(JOINTS)
        self.feedback = "follows"
        self.goal = START.copy()
        self.seed = START
        self.moving_since_stop = -np.inf
        self.stopped = False
        self.accepted_at = -np.inf
        self.output = self.filter.step(self.now, self.q)

    @property
    def clock(self) -> float:
        return self.now + self.clock_error

    def measured(self) -> np.ndarray | None:
        if self.feedback == "missing":
            return None
        if self.feedback == "nan":
            return np.where(np.arange(JOINTS) == 2, np.nan, self.q)
        return self.q + self.offset

    def submit(self, position, who="teleop", source="", age=0.0, stamp=None) -> bool:
        stamp = self.clock - age if stamp is None else stamp
        command = JointCommand(commander=who, source=source, position=position, stamp=stamp)
        verdict = self.filter.submit(command, self.clock)
        assert verdict.accepted == (verdict.reason == "")
        if verdict.accepted:
            self.accepted_at = self.now
        return verdict.accepted

    def step(self, dt: float = TICK, lie: float = 0.0) -> FilterOutput:
        """Let time pass and record; a clock that is set, or lies once, keeps the period."""
        dt = self.dt - self.pending if lie else dt
        self.now += dt
        if dt > LONGEST_STEP:
            self.recorder.stand(self.now)
        measured, seed = self.measured(), self.seed
        if measured is not None and np.isfinite(measured).all():
            self.seed = measured
        self.output = self.filter.step(self.clock + lie, measured)
        self.look(self.output, dt, seed)
        self.pending += dt
        if lie or self.pending >= SHORTEST_STEP:
            self.dt = self.dt if lie or self.pending > LONGEST_STEP else self.pending
            self.pending = 0.0
        return self.output

    def look(self, output: FilterOutput, dt: float, seed: np.ndarray) -> None:
        target = output.target
        if target is None:
            assert output.state is not FilterState.TRACKING
            return
        assert output.state is not FilterState.IDLE
        if self.stopped:
            assert self.now <= self.moving_since_stop + BRAKING + LONGEST_STEP
        if output.state is FilterState.TRACKING and dt <= LONGEST_STEP:
            assert self.now - self.accepted_at <= CONFIG.command_timeout + 1e-9
        if not self.recorder.targets:
            self.recorder.begin(seed, self.now - dt - self.pending)
        if dt + self.pending >= SHORTEST_STEP:
            self.recorder.take(target, dt + self.pending)
        if self.feedback == "follows":
            self.q = target
        # blocked: the arm stays where it is

    def drive(self, velocity, ticks: int, every: int, who: str, source: str) -> None:
        self.goal = self.q + self.offset
        for tick in range(ticks):
            if tick % every == 0:
                self.goal = np.clip(self.goal + velocity * TICK * every, LOWER - 0.1, UPPER + 0.1)
                self.submit(self.goal, who, source)
            self.step()

    # --- events ------------------------------------------------------------------------------

    def stop(self) -> None:
        if not self.stopped:
            self.moving_since_stop, self.stopped = self.now, True
        self.filter.stop("by hand")

    def resume(self) -> None:
        self.stopped = False
        self.filter.resume()

    def reset(self) -> None:
        self.filter.reset("new link")
        self.recorder.forget()


VELOCITIES = st.lists(
    st.sampled_from([-4.0, -1.5, -0.3, 0.0, 0.3, 1.5, 4.0]), min_size=JOINTS, max_size=JOINTS
).map(np.array)
OFFSETS = st.lists(
    st.sampled_from([-1.0, -0.3, -0.02, 0.0, 0.02, 0.3, 1.0]), min_size=JOINTS, max_size=JOINTS
).map(np.array)
WHO = st.sampled_from(["teleop", "policy"])
SOURCE = st.sampled_from(["", "a", "b"])
EVENTS = st.one_of(
    st.tuples(st.just("drive"), VELOCITIES, st.integers(1, 40), st.integers(1, 6), WHO, SOURCE),
    st.tuples(st.just("silent"), st.integers(1, 70)),
    st.tuples(st.just("irregular"), st.lists(st.floats(1e-6, 0.0599), max_size=12)),
    st.tuples(st.just("gap"), st.floats(0.0601, 3.0)),
    st.tuples(st.just("far"), OFFSETS),
    st.tuples(st.just("bad"), st.sampled_from(["nan", "inf", "short", "stale", "early", "same"])),
    st.tuples(st.just("feedback"), st.sampled_from(["follows", "missing", "nan", "blocked"])),
    st.tuples(st.just("offset"), OFFSETS),
    st.tuples(st.just("clock"), st.sampled_from([-3600.0, -0.5, -0.07, np.nan, np.inf, -np.inf])),
    st.tuples(st.sampled_from(["stop", "resume", "reset", "release"])),
)


def happen(world: World, event: tuple) -> None:
    """Let one event come over the world."""
    match event:
        case ("drive", velocity, ticks, every, who, source):
            world.drive(velocity, ticks, every, who, source)
        case ("silent", ticks):
            for _ in range(ticks):
                world.step()
        case ("irregular", steps):
            for dt in steps:
                world.submit(world.goal)
                world.step(dt)
        case ("gap", seconds):
            world.step(seconds)
        case ("far", offset):
            world.submit(world.q + 2.0 * offset)
            world.step()
        case ("bad", kind):
            bad(world, kind)
        case ("feedback", kind):
            world.feedback = kind
        case ("offset", offset):
            world.offset = offset
        case ("clock", change):
            world.step(lie=change)
            if np.isfinite(change):
                world.clock_error += change
        case ("release",):
            world.filter.release("teleop")
        case (name,):
            getattr(world, name)()


def bad(world: World, kind: str) -> None:
    """A command that must be refused."""
    position = world.q.copy()
    if kind in ("nan", "inf"):
        position[3] = float(kind)
    if kind == "short":
        position = position[:-1]
    age = {"stale": 0.2, "early": -0.2}.get(kind, 0.0)
    world.submit(world.q)  # taken or not: sent again it is never new
    assert not world.submit(position, age=age)
    world.step()


@SETTINGS
@given(st.lists(EVENTS, min_size=3, max_size=24))
def test_every_target_obeys_position_speed_acceleration_and_jerk(events: list[tuple]) -> None:
    world = World()
    for event in events:
        happen(world, event)
    world.recorder.check()


@SETTINGS
@given(st.lists(EVENTS, max_size=12), st.booleans())
def test_after_anything_silence_ends_in_rest_and_a_resume_ramps(events, stops: bool) -> None:
    world = World()
    for event in events:
        happen(world, event)
    if stops:
        world.stop()
    world.feedback = "follows"
    for _ in range(80):
        world.step()
    assert world.output.target is None
    world.resume()
    world.offset = np.zeros(JOINTS)
    world.q = world.output.target if world.output.target is not None else world.q
    world.step()
    assert world.output.target is None
    here = world.filter.step(world.clock, world.q)
    assert here.target is None
    world.drive(np.full(JOINTS, 0.5), 20, 1, "policy", "c")
    world.recorder.check()


@SETTINGS
@given(st.lists(EVENTS, max_size=10), st.sampled_from(["stop", "reset"]))
def test_nobody_who_talks_through_a_stop_or_a_reset_moves_the_arm(events, ends_with) -> None:
    world = World()
    for event in events:
        happen(world, event)
    world.feedback, world.offset = "follows", np.zeros(JOINTS)
    world.submit(world.q, "teleop", "a")
    world.submit(world.q, "policy", "b")
    getattr(world, ends_with)()
    world.resume()
    for _ in range(30):
        for who, source in (("teleop", "a"), ("policy", "b")):
            assert not world.submit(world.q + 0.01, who, source)
        world.step()
    assert world.output.target is None


@FEW
@given(st.lists(st.tuples(VELOCITIES, st.integers(1, 40)), max_size=12))
def test_an_arm_that_is_blocked_never_winds_up(drives) -> None:
    world = World()
    world.feedback = "blocked"
    for velocity, ticks in drives:
        for _ in range(ticks):
            here = START if world.output.target is None else world.output.target
            world.submit(np.clip(here + 0.1 * velocity, here - 0.3, here + 0.3))
            world.step()
            if world.output.target is not None:
                assert np.abs(world.output.target - START).max() <= CONFIG.max_step + 1e-9
    world.recorder.check()


@FEW
@given(OFFSETS, VELOCITIES)
def test_a_set_point_far_from_the_arm_comes_back_gently(offset, velocity) -> None:
    world = World()
    world.drive(velocity, 30, 2, "teleop", "")
    world.feedback = "blocked"
    start = world.q.copy()
    world.offset = offset
    away = [np.abs(start - world.q - offset).max()]
    for _ in range(600):
        world.submit(world.output.target)
        world.step()
        away.append(np.abs(world.output.target - world.q - offset).max())
    if away[0] > CONFIG.max_step + 0.2:
        assert min(away) < away[0]
    settled = np.abs(np.clip(world.q + offset, LOWER, UPPER) - (world.q + offset)).max() < 1e-9
    if settled:
        assert away[-1] <= CONFIG.max_step + 1e-3
    assert np.abs(np.diff(world.recorder.targets[-500:], axis=0)).max() / TICK <= 0.3
    world.recorder.check()


class Wall:
    """Keeps the first joint's stopping posture on this side of an angle; says how often."""

    def __init__(self, angle: float) -> None:
        self.angle, self.slowed = angle, 0

    def limit(
        self, q, velocity, wanted, dt, now, stopping: StoppingPosture
    ) -> GuardVerdict:  # fmt: skip
        for share in (1.0, 0.5, 0.25):
            if stopping(wanted * share)[0] <= self.angle:
                reason = "" if share == 1.0 else f"wall at {self.angle:.2f} rad"
                return GuardVerdict(velocity=wanted * share, reason=reason)
        self.slowed += 1
        return GuardVerdict(velocity=np.zeros(JOINTS), reason=f"wall at {self.angle:.2f} rad")


@SETTINGS
@given(st.lists(EVENTS, max_size=16))
def test_a_guard_that_looks_at_stopping_postures_is_never_passed(events) -> None:
    wall = Wall(float(START[0]) + 0.15)
    world = World(wall)
    for event in events:
        if event[0] not in ("reset", "offset"):  # a new seed may lie behind the wall
            happen(world, event)
        for target in world.recorder.targets[-60:]:
            assert target[0] <= wall.angle + 1e-9
    world.recorder.check()


LIMITS = MotionLimits(
    lower=(-0.3,), upper=(0.5,), speed=(2.0,), acceleration=15.0, jerk=CONFIG.max_joint_jerk
)


@SETTINGS
@given(
    st.lists(st.tuples(st.floats(-2.0, 2.0), st.floats(1e-4, 0.06)), max_size=60),
    st.floats(-0.6, 0.8),
)
def test_jerk_never_carries_a_joint_past_a_limit(steps, start: float) -> None:
    point = SetPoint(LIMITS, np.array([start]))
    lowest, highest = min(start, LIMITS.lower[0]), max(start, LIMITS.upper[0])
    for wanted, dt in steps:
        promised = point.stopping([wanted], dt, LIMITS.lower, LIMITS.upper)[0]
        before = point.joints[0]
        point.advance([wanted], dt, LIMITS.lower, LIMITS.upper)
        q, v, a = point.joints[0]
        assert lowest - 1e-9 <= q <= highest + 1e-9
        assert abs(v) <= 2.0 + 1e-9 and abs(a) <= 15.0 + 1e-9
        assert abs(a - before[2]) <= CONFIG.max_joint_jerk * dt + 1e-9
        stops_at = point.stopping([0.0], dt, LIMITS.lower, LIMITS.upper)[0]
        assert abs(stops_at - promised) < 1e-9
    for _ in range(20):
        point.advance([0.0], TICK, LIMITS.lower, LIMITS.upper)
    assert not point.moving
    assert lowest - 1e-9 <= point.q[0] <= highest + 1e-9
