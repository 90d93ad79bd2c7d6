"""What follows when a process of a launch ends: a new start, going on without it, or the stop."""

import signal
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ate_bringup.specs import ProcessSpec

KERNEL_COUNTERS = Path("/proc/vmstat")
"""Where the kernel counts the processes that it has killed for want of memory."""


@dataclass(frozen=True, kw_only=True)
class RestartConfig:
    """How patiently a process that keeps ending is started again."""

    first_delay: float = 0.3
    """Wait before the first new start [s]."""
    growth: float = 2.0
    """Factor from one wait to the next."""
    longest_delay: float = 10.0
    """Longest wait [s]."""
    good_life: float = 20.0
    """A process that lived so long begins anew with the first wait [s]."""
    attempts: int = 8
    """New starts of a process that never lived long; then it is given up."""


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What a launch does about a process that has ended."""

    text: str
    """What people are told."""
    restart_after: float | None = None
    """Wait before it is started again [s]; None: it is not."""
    ends_launch: bool = False
    """Whether everything stops now."""
    failed: bool = False
    """Whether the launch counts as failed from now on."""


def kills_for_memory() -> int:
    """Processes that the kernel has killed for want of memory; 0 where it counts none."""
    try:
        lines = KERNEL_COUNTERS.read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith("oom_kill ")), 0)


class Restarts:
    """Endings of one process of a launch."""

    def __init__(
        self,
        spec: ProcessSpec,
        config: RestartConfig | None = None,
        kills: Callable[[], int] = kills_for_memory,
    ) -> None:
        """Begin with a process that runs.

        Args:
            spec: of the process.
            config: how patiently it is started again.
            kills: counts what the kernel has killed for want of memory.
        """
        self._spec = spec
        self._config = config or RestartConfig()
        self._short_lives = 0
        self._kills, self._killed = kills, kills()

    def ended(self, code: int, lived: float) -> Verdict:
        """Decide.

        Args:
            code: exit code, or minus the number of the signal that killed it.
            lived: time since its start [s].
        """
        spec, config = self._spec, self._config
        how = f"{spec.label} {self._describe(code)}"
        failed = bool(code) or not spec.finishes
        if spec.ends_launch:
            return Verdict(text=f"{how}: stopping the launch", ends_launch=True, failed=failed)
        loss = f" ({spec.loss})" if spec.loss else ""
        if not spec.respawn:
            return Verdict(text=f"{how}{loss}: see its messages above", failed=True)
        self._short_lives = 1 if lived >= config.good_life else self._short_lives + 1
        if self._short_lives > config.attempts:
            text = (
                f"{how}{loss}, for the {self._short_lives}th time in a row: given up; mend the "
                "cause named above, then start the launch again"
            )
            return Verdict(text=text, failed=True)
        delay = config.first_delay * config.growth ** (self._short_lives - 1)
        delay = min(delay, config.longest_delay)
        return Verdict(
            text=f"{how}{loss}: starting it again in {delay:.1f} s", restart_after=delay
        )

    def _describe(self, code: int) -> str:
        """How the process has ended, with what its code alone does not tell."""
        before, self._killed = self._killed, self._kills()
        if code == -signal.SIGKILL and self._killed > before:
            return "was killed by the kernel: the machine is out of memory"
        if code == 0 and not self._spec.finishes:
            return "was told to stop, not by the launch"
        return describe_exit(code)


def describe_exit(code: int) -> str:
    """How a process has ended, for people: a signal by its name."""
    if code >= 0:
        return f"has ended with code {code}" if code else "has finished"
    try:
        name = signal.Signals(-code).name
    except ValueError:
        name = f"signal {-code}"
    return f"was killed by {name}"
