"""Parameters of the policy's node that say how chunks are played."""

from dataclasses import dataclass
from typing import Any, get_args

from rcl_interfaces.msg import ParameterDescriptor
from rclpy.node import Node

from ate_core.contract import Cell
from ate_core.errors import UsageError
from ate_core.nodes.parameters import declare_text
from ate_policy.approach import SPEED
from ate_policy.chunking import GOING_ON, ChunkingConfig, ChunkMode, usual_execute
from ate_policy.robot_policy import RobotPolicy


@dataclass(frozen=True, kw_only=True)
class ChunkOptions:
    """As declared."""

    mode: str
    """One of `ChunkMode`."""
    execute: int
    """Actions executed of each chunk [ticks]; 0: those of 0.5 s, of 0.65 s where it is
    synchronous."""
    delay_ms: int
    """Expected time from an observation to its chunk [ms]; 0: as long as the warm-up took."""
    approach: bool
    """Whether the arms may be led to a first action that is out of reach."""

    @staticmethod
    def declare(node: Node) -> "ChunkOptions":
        """Declare and read them.

        Raises:
            UsageError: a value is outside its bounds.
        """
        what = "which of the chunks that overlap is played"
        options = ChunkOptions(
            mode=declare_text(node, "chunk_mode", "synchronous", what, get_args(ChunkMode)),
            execute=int(
                _declare(node, "execute", 0, "actions of each chunk; 0: the usual number")
            ),
            delay_ms=int(_declare(node, "delay_ms", 0, "expected delay; 0: as the warm-up [ms]")),
            approach=bool(_declare(node, "approach", False, "go slowly to a far first action")),
        )
        for name in ("execute", "delay_ms"):
            if getattr(options, name) < 0:
                raise UsageError(f"parameter {name} is {getattr(options, name)}; need 0 or more")
        return options

    def check(self, policy: RobotPolicy, tick_rate: float) -> None:
        """Refuse what a policy cannot do, before it is warmed up.

        Args:
            policy: That is to be played.
            tick_rate: Of the cell [Hz].

        Raises:
            UsageError: saying what to give instead.
        """
        if self.mode in GOING_ON and not policy.continues:
            raise UsageError(
                f"chunk_mode is {self.mode}, but {policy.kind} cannot go on with a chunk: give "
                "chunk_mode:=synchronous or temporal_ensemble"
            )
        if self.execute > policy.horizon:
            raise UsageError(
                f"execute is {self.execute} ticks, chunks have {policy.horizon}: give "
                f"execute:={policy.horizon} or less"
            )
        seconds = policy.horizon / tick_rate
        if self.delay_ms >= 1e3 * seconds:
            raise UsageError(
                f"delay_ms is {self.delay_ms} ms, a chunk covers {seconds:g} s and would be over "
                "when it comes: use a faster device or a longer horizon"
            )

    def chunking(self, policy: RobotPolicy, cell: Cell, warm: float) -> ChunkingConfig:
        """How the chunks of a policy are played.

        Args:
            policy: That is played.
            cell: Its tick rate, and the silence after which its drivers hold.
            warm: Duration of an inference [s].
        """
        tick_rate = cell.tick_rate
        expected = 1e-3 * self.delay_ms or warm
        mode: ChunkMode = self.mode  # type: ignore[assignment]
        return ChunkingConfig(
            mode=mode,
            execute=self.execute or usual_execute(tick_rate, policy.horizon, mode),
            # the action of the next tick is given away before the observation is looked at
            expected_delay=1 + int(expected * tick_rate),
            longest_gap=max(1, round(cell.safety.command_timeout * tick_rate)),
        )

    def approach_step(self, tick_rate: float) -> float:
        """Largest change of a joint per tick on the way to a far first action [rad]; 0: none."""
        return SPEED / tick_rate if self.approach else 0.0


def _declare(node: Node, name: str, default: Any, description: str) -> Any:
    descriptor = ParameterDescriptor(description=description, read_only=True)
    return node.declare_parameter(name, default, descriptor).value
