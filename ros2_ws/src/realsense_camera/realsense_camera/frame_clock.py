"""How old a frame is: which clock a camera stamps with, and what waited; time is an argument."""

LARGEST_LEAD = 20_000_000
"""A stamp further ahead of the clock is on another one [ns]."""
LARGEST_WAIT = 10_000_000_000
"""A frame that is older than the opening by more is on another clock [ns]."""
STEP = 20_000_000
"""A larger change of the clock against the monotonic one between two frames is a step [ns]."""
STEP_TIME = 10_000_000_000
"""So long after a step stamps may follow the clock as it was before, or anything between [ns]."""
PAUSE_FRAMES = 5
"""A longer pause between two frames, in frames, may have made others wait."""
DRAIN_TIME = 200_000_000
"""In this time after a pause all frames count as having waited [ns]."""


class FrameClock:
    """Tells the age of each frame of one opening of a camera.

    One stamp between the opening and now shows that the camera stamps with the clock; from then on
    the age is believed, whatever it is: a picture that waited for the process or on the bus stays
    old. A stamp that no waiting explains is told from a step of the clock by the change of the
    clock against the monotonic one. Where there is no such clock, a frame is as old as its
    arrival; what came after a pause then may be older by any time, and is to be dropped.
    """

    def __init__(self, fps: int, clock_ns: int, now_ns: int) -> None:
        """Begin with the opening.

        Args:
            fps: wanted rate of the camera [Hz].
            clock_ns: the clock that the camera may stamp with [ns].
            now_ns: monotonic time [ns].
        """
        self._period_ns = 1_000_000_000 // fps
        self._opened_ns = now_ns
        self._is_known = False
        self._offset_ns = self._former_ns = clock_ns - now_ns
        self._stepped_ns: int | None = None
        self._arrived_ns: int | None = None
        self._interval_ns = self._period_ns
        self._paused_ns: int | None = None

    def age_ns(self, stamp_ns: int | None, clock_ns: int, now_ns: int) -> int | None:
        """Age of a frame at its arrival [ns]; None: it may be old, or nobody knows: drop it.

        Args:
            stamp_ns: the camera's stamp [ns]; None where it has a clock of its own.
            clock_ns: the clock at the arrival [ns], read before ``now_ns``.
            now_ns: monotonic time of the arrival [ns].
        """
        has_waited = self._has_waited(now_ns)
        offsets = self._offsets(clock_ns - now_ns, now_ns)
        has_stepped = len(offsets) > 1
        ages = [] if stamp_ns is None else [now_ns + offset - stamp_ns for offset in offsets]
        oldest = LARGEST_WAIT + (0 if has_stepped else now_ns - self._opened_ns)
        possible = [age for age in ages if -LARGEST_LEAD <= age <= oldest]
        self._is_known = self._is_known or bool(possible)
        if possible and not (has_stepped and has_waited):
            return min(possible)
        is_too_old = self._is_known and not has_stepped and min(ages, default=0) > 0
        return None if has_waited or is_too_old else 0

    def _offsets(self, offset_ns: int, now_ns: int) -> tuple[int, ...]:
        """The clock against the monotonic one: now, and soon after a step also before that."""
        if abs(offset_ns - self._offset_ns) > STEP:
            self._former_ns, self._stepped_ns = self._offset_ns, now_ns
        self._offset_ns = offset_ns
        if self._stepped_ns is None or now_ns - self._stepped_ns > STEP_TIME:
            return (offset_ns,)
        return (offset_ns, self._former_ns)

    def _has_waited(self, now_ns: int) -> bool:
        """Whether a frame may have waited: it ended a pause, or came right behind one that did."""
        if self._arrived_ns is not None:
            interval_ns = now_ns - self._arrived_ns
            if interval_ns > PAUSE_FRAMES * max(self._period_ns, self._interval_ns):
                self._paused_ns = now_ns
            elif (
                self._paused_ns is not None
                and now_ns - self._paused_ns > DRAIN_TIME
                and interval_ns > self._period_ns // 2
            ):
                self._paused_ns = None
            self._interval_ns = interval_ns
        self._arrived_ns = now_ns
        return self._paused_ns is not None
