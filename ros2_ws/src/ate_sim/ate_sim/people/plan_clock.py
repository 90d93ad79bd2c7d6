"""The clock of a plan: people slow down when the arm lags and watch the fingers close."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class PlanClockConfig:
    """When the scripted people wait for the robot."""

    free_lag: float = 0.03
    """Distance of the tool behind its target up to which they go at full speed [m]."""
    full_stop_lag: float = 0.10
    """Distance from which they stand still [m]."""
    settled: float = 0.004
    """Distance at which they trust the tool to be where they want to grasp or let go [m]."""
    settle_timeout: float = 3.0
    """After this they grasp or let go anyway [s]."""
    finger_timeout: float = 1.5
    """Longest wait for fingers to close on an object or to open [s]."""


class PlanClock:
    """The clock of one performance: at most real time, held while the robot is not ready."""

    def __init__(self, config: PlanClockConfig) -> None:
        self._config = config
        self.time = 0.0
        """Time on the plan [s]."""
        self._waited = 0.0

    def advance(self, dt: float, lag: float, switching: bool, fingers_moving: bool) -> None:
        """Move the plan's clock on.

        Args:
            dt: Time passed [s].
            lag: Largest distance of a tool from its target [m].
            switching: The next moment of the plan opens or closes a gripper.
            fingers_moving: A gripper has not yet done what its trigger says, and its tool is about
                to leave, or other fingers are: nobody lets go of what nobody else holds yet.
        """
        config = self._config
        not_settled = switching and lag > config.settled
        patience = config.settle_timeout if not_settled else config.finger_timeout
        if not_settled or fingers_moving:
            self._waited += dt
            if self._waited < patience:
                return
        else:
            self._waited = 0.0
        room = (config.full_stop_lag - lag) / (config.full_stop_lag - config.free_lag)
        self.time += dt * min(max(room, 0.0), 1.0)
