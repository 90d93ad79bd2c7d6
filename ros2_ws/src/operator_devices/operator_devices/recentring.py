"""Tells a moved origin of the headset's frame from a moving person.

A re-centring moves head and wrist by one and the same rigid transform, from one pose to the next.
No person does: what head and hand share, a lean or a step, they share smoothly, and what comes
suddenly, they do not share. So each of the two is foretold from its last step; where the head
leaves that forecast and the wrist leaves its own in the same way, the frame has moved.

A frame that glides to its new place departs from no forecast. It carries head and wrist like one
stiff body, though, and necks and arms are not stiff: over a centimetre of way they always give.
"""

import math
from collections import deque
from dataclasses import dataclass
from functools import cached_property

from ate_core.rotation_floats import (
    Rotation,
    Vector,
    agreement,
    applied,
    exp,
    log,
    minus,
    plus,
    product,
    transposed,
)
from operator_devices.plain_pose import PlainPose

_REMEMBERED = 4
"""Jolts kept of each of the two; head and wrist may change in different messages."""
_LONGEST_GAP = 15.0
"""Poses left out in a row that a forecast still spans; a longer silence opens the clutch."""
_STILL = 3
"""Messages with one and the same pose after which a body rests; fewer are repeated messages."""


@dataclass(frozen=True, kw_only=True)
class RecentringConfig:
    """Which departure from a forecast is no motion of a person."""

    acceleration: float = 4.0
    """Of the head, above which a departure is looked at; walking has 3 [m/s^2]."""
    turn_acceleration: float = 42.0
    """The same for its rotation [rad/s^2]."""
    distance: float = 5e-4
    """Least departure looked at; also that of one pose at `acceleration` [m]."""
    angle: float = 5e-3
    """The same for the rotation [rad]."""
    violence: float = 6.0
    """A departure so many times larger is no head's, whatever the wrist does."""
    likeness: float = 0.5
    """Part of the head's departure by which that of the wrist may differ from it."""
    noise_distance: float = 3e-4
    """Difference that noise makes [m]."""
    noise_angle: float = 2.6e-3
    """The same for the rotation [rad]."""
    period: float = 1.0 / 90.0
    """Nominal time between two poses [s]."""
    window: float = 0.03
    """Time within which the departures of head and wrist count as one; a wrist that was not seen
    has so much longer [s]."""
    largest_distance: float = 4e-3
    """Departure looked at after any gap in the poses [m]."""
    largest_angle: float = 0.03
    """The same for the rotation [rad]."""
    late: float = 3.5
    """Usual times between poses after which some count as missing; they may come by threes."""
    doubt: float = 1e-3
    """Departure that is doubted after missing poses: forecasts are worth little then [m]."""
    doubtful: float = 0.65
    """Part of a wrist's departure that the head's need not explain then."""
    lever: float = 0.3
    """What a departure of the rotation counts beside that [m/rad]."""
    restlessness: float = 4.0
    """Acceleration with which a wrist turns by itself [rad/s^2]."""
    glide_time: float = 0.6
    """Time over which a frame may glide to its new place [s]."""
    glide_distance: float = 0.01
    """Way of the head from which on it is asked whether head and wrist are one stiff body [m]."""
    glide_angle: float = 0.035
    """The same for its rotation [rad]."""
    glide_give: float = 0.03
    """Part of the way by which no neck and arm stay as stiff; noise comes on top."""


class _Step:
    """The way from one pose to the next; reckoned when somebody asks."""

    def __init__(self, last: PlainPose, pose: PlainPose) -> None:
        self.last, self.pose = last, pose

    @cached_property
    def shift(self) -> Vector:
        """Translation [m]."""
        return minus(self.pose.place, self.last.place)

    @cached_property
    def turn(self) -> Vector:
        """Rotation vector [rad]."""
        return log(product(self.pose.turn, transposed(self.last.turn)))


class _Jolt:
    """How one pose differs from its forecast, in the headset frame; reckoned when asked for."""

    def __init__(
        self, *, time: float, before: _Step, step: _Step, ratio: float, gap: float, is_late: bool
    ) -> None:
        """A pose and what led to it.

        Args:
            time: when it was seen [s].
            before: the step that foretells the one to it.
            step: the one to it.
            ratio: of the time that it took to that of the step before.
            gap: nominal periods since the pose before; at least 1.
            is_late: whether poses are missing before it.
        """
        self.time, self.gap, self.is_late = time, gap, is_late
        self.seen = step.pose.place
        self._before, self._step, self._ratio = before, step, ratio

    @cached_property
    def _share(self) -> float:
        """Part of the step before that is expected to come again."""
        before, step, ratio = self._before, self._step, self._ratio
        (a, b, c), (d, e, f) = before.shift, before.turn
        (u, v, w), (x, y, z) = step.shift, step.turn
        both = u * a + v * b + w * c + x * d + y * e + z * f
        share = both / max(a * a + b * b + c * c + d * d + e * e + f * f, 1e-12)
        return min(max(share, 0.95 * min(ratio, 1.0)), 1.05 * max(ratio, 1.0))

    @cached_property
    def expected(self) -> Vector:
        """Position foretold [m]."""
        share, (x, y, z) = self._share, self._before.shift
        return plus(self._step.last.place, (share * x, share * y, share * z))

    @cached_property
    def turn(self) -> Vector:
        """Rotation vector from the orientation foretold to the one seen [rad]."""
        share, (x, y, z) = self._share, self._before.turn
        foretold = product(exp((share * x, share * y, share * z)), self._step.last.turn)
        return log(product(self._step.pose.turn, transposed(foretold)))


class _Forecast:
    """Foretells one body from its last step, and tells how it departs from that."""

    def __init__(self, config: RecentringConfig) -> None:
        self._config = config
        self._pose: PlainPose | None = None
        self._time = self._elapsed = 0.0
        self._usual = config.period
        self._step: _Step | None = None
        self._repeats = 0

    def update(self, pose: PlainPose, now: float) -> _Jolt | None:
        """Take a pose seen at `now` [s]; None for a repeated one and for the first two."""
        last, config = self._pose, self._config
        if last is None:
            self._pose, self._time = pose, now
            return None
        if pose.equals(last):
            self._repeats += 1
            if self._repeats >= _STILL:
                self._step = _Step(last, last)
                self._time, self._elapsed = now, config.period
            return None
        self._repeats = 0
        elapsed, before_that = now - self._time, self._elapsed
        is_late = elapsed > config.late * self._usual
        self._usual += 0.1 * (min(elapsed, 2.0 * self._usual) - self._usual)
        self._usual = max(self._usual, config.period)
        before, self._step = self._step, _Step(last, pose)
        self._pose, self._time, self._elapsed = pose, now, elapsed
        if before is None:
            return None
        # Poses are left out, and come late: the step may span as many periods as it took, or one.
        ratio = min(max(elapsed / max(before_that, 1e-4), 0.1), _LONGEST_GAP)
        return _Jolt(
            time=now,
            before=before,
            step=self._step,
            ratio=ratio,
            gap=min(max(elapsed / config.period, 1.0), _LONGEST_GAP),
            is_late=is_late,
        )


class _Pair:
    """Head and wrist at one moment, and where the wrist is to the head."""

    def __init__(self, wrist: PlainPose, head: PlainPose) -> None:
        self.wrist, self.head = wrist, head

    @cached_property
    def arm(self) -> Vector:
        """Position of the wrist in the head's frame [m]."""
        return applied(transposed(self.head.turn), minus(self.wrist.place, self.head.place))

    @cached_property
    def hand(self) -> Rotation:
        """Rotation of the wrist in the head's frame."""
        return product(transposed(self.head.turn), self.wrist.turn)


class _Glide:
    """Sees head and wrist being carried like one stiff body."""

    LOOKS = 6
    """Poses of the past that are compared with the present one."""

    def __init__(self, config: RecentringConfig) -> None:
        self._config = config
        self._cosine = 1.0 + 2.0 * math.cos(config.glide_angle)  # trace of that rotation
        self._past: deque[tuple[float, _Pair]] = deque(maxlen=self.LOOKS)

    def update(self, wrist: PlainPose, head: PlainPose, now: float) -> bool:
        """Take both poses seen at `now` [s]; whether one thing has carried them here."""
        config, past, pair = self._config, self._past, _Pair(wrist, head)
        while past and now - past[0][0] > config.glide_time:
            past.popleft()
        is_carried = any(self._is_one_body(was, pair) for _, was in past)
        if not past or now - past[-1][0] >= config.glide_time / self.LOOKS:
            past.append((now, pair))
        return is_carried

    def _is_one_body(self, was: _Pair, now: _Pair) -> bool:
        """Whether the head went some way, and the wrist stayed where it was to the head."""
        config, was_turn, turn = self._config, was.head.turn, now.head.turn
        way_of_head = now.head.distance(was.head)
        way = max(way_of_head, now.wrist.distance(was.wrist))
        if math.dist(now.arm, was.arm) > config.noise_distance + config.glide_give * way:
            return False
        is_near = way_of_head < config.glide_distance
        if is_near and agreement(was_turn, turn) > self._cosine:
            return False
        angle = math.hypot(*log(product(transposed(was_turn), turn)))
        twist = product(transposed(was.hand), now.hand)
        return math.hypot(*log(twist)) <= config.noise_angle + config.glide_give * angle


class RecentringWatch:
    """Watches the poses of one head and one wrist, between which a person's neck and arm are."""

    def __init__(self, config: RecentringConfig | None = None) -> None:
        self._config = config or RecentringConfig()
        self.reset()

    def reset(self) -> None:
        """Forget all poses: what follows is another frame, or another hand."""
        self._head, self._wrist = _Forecast(self._config), _Forecast(self._config)
        self._heads: deque[_Jolt] = deque(maxlen=_REMEMBERED)
        self._wrists: deque[_Jolt] = deque(maxlen=_REMEMBERED)
        self._glide = _Glide(self._config)

    def moved(self, wrist: PlainPose, head: PlainPose, now: float) -> bool:
        """Take both poses of a message of `now` [s]; whether the frame has moved."""
        of_head, of_wrist = self._head.update(head, now), self._wrist.update(wrist, now)
        if of_wrist is not None:
            self._wrists.append(of_wrist)
        size = 0.0 if of_head is None else self._size(of_head)
        if self._glide.update(wrist, head, now) or size >= self._config.violence:
            return True
        if of_head is not None and of_wrist is not None and of_head.is_late and of_wrist.is_late:
            return self._is_doubtful(of_head, of_wrist)
        pairs = [] if of_wrist is None else [(jolt, of_wrist) for jolt in self._heads]
        if of_head is not None and size >= 1.0:
            self._heads.append(of_head)
            pairs += [(of_head, jolt) for jolt in self._wrists]
        return any(self._alike(*pair) for pair in pairs)

    def _size(self, jolt: _Jolt) -> float:
        """Departure of a head in units of what a person's head can do in that time."""
        config = self._config
        time = jolt.gap * config.period
        distance, angle = math.dist(jolt.seen, jolt.expected), math.hypot(*jolt.turn)
        far = max(config.distance, config.acceleration * time * time)
        wide = max(config.angle, config.turn_acceleration * time * time)
        ratio = max(distance / far, angle / wide)
        if ratio < 1.0 and (distance > config.largest_distance or angle > config.largest_angle):
            return 1.0
        return ratio

    def _is_doubtful(self, head: _Jolt, wrist: _Jolt) -> bool:
        """Whether a motion of the frame, while poses were missing, explains most of what is seen.

        The head may have turned by itself meanwhile, so the frame is also taken not to.
        """
        lever = self._config.lever

        def size(distance: Vector, turn: Vector) -> float:
            return math.hypot(*distance) + lever * math.hypot(*turn)

        shift = minus(head.seen, head.expected)
        if size(shift, head.turn) < self._config.doubt:
            return False
        moved = minus(wrist.seen, wrist.expected)
        arm = applied(exp(head.turn), minus(wrist.expected, head.expected))
        left = min(
            size(minus(minus(wrist.seen, head.seen), arm), minus(wrist.turn, head.turn)),
            size(minus(moved, shift), wrist.turn),
        )
        return left <= self._config.doubtful * size(moved, wrist.turn)

    def _alike(self, head: _Jolt, wrist: _Jolt) -> bool:
        """Whether the head's departure, as a motion of the frame, explains that of the wrist."""
        config = self._config
        if abs(head.time - wrist.time) > config.window + wrist.gap * config.period:
            return False
        arm = applied(exp(head.turn), minus(wrist.expected, head.expected))
        explained = plus(arm, head.seen)
        moved = max(math.dist(explained, wrist.expected), math.dist(head.seen, head.expected))
        distance = math.dist(wrist.seen, explained)
        angle, turned = math.dist(wrist.turn, head.turn), math.hypot(*head.turn)
        own = config.restlessness * (wrist.gap * config.period) ** 2
        return distance <= max(config.likeness * moved, config.noise_distance) and angle <= max(
            config.likeness * turned, config.noise_angle + own
        )
