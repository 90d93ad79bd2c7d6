"""The guard of a running arm: what may be changed while it moves, around the distance guard."""

import threading
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from ate_core.motion_guard import GuardVerdict, MotionGuard, StoppingPosture

Array = NDArray[np.float64]


class LiveGuard:
    """Slows the whole arm by a factor, then asks the distance guard that is in force.

    Both may be changed by another thread; the filter follows within its acceleration, because a
    guard only says which velocity to aim for.
    """

    def __init__(self, speed: Array, inner: MotionGuard) -> None:
        """Prepare.

        Args:
            speed: largest speeds of the joints (n,) [rad/s].
            inner: the guard of distances.
        """
        self._speed = speed
        self.inner = inner
        """The guard of distances; replaced as a whole."""
        self.speed_scale = 1.0
        """Share of the joints' speeds that is allowed, (0, 1]."""

    def limit(
        self,
        q: Array,
        velocity: Array,
        wanted: Array,
        dt: float,
        now: float,
        stopping: StoppingPosture,
    ) -> GuardVerdict:
        """Velocity to aim for; see `MotionGuard`."""
        scale = self.speed_scale
        if scale < 1.0:
            # All joints by one factor, so that the direction of the motion stays.
            factor = float(np.max(np.abs(wanted) / self._speed)) / scale
            wanted = wanted / factor if factor > 1.0 else wanted
        return self.inner.limit(q, velocity, wanted, dt, now, stopping)


class Replacement:
    """Builds a new distance guard in a thread of its own and puts it in force."""

    def __init__(self, guard: LiveGuard) -> None:
        """Prepare.

        Args:
            guard: where the new one is put.
        """
        self._guard = guard
        self._lock = threading.Lock()
        self._newest = 0

    def begin(self, build: Callable[[], MotionGuard]) -> None:
        """Build; where a newer one was asked for meanwhile, this one is dropped."""
        with self._lock:
            self._newest += 1
            number = self._newest

        def run() -> None:
            inner = build()
            with self._lock:
                if number == self._newest:
                    self._guard.inner = inner

        threading.Thread(target=run, name="guard builder", daemon=True).start()
