"""`ate stop`: the emergency stop of the cell from a terminal."""

import sys
from collections.abc import Mapping
from dataclasses import dataclass

from ate_core.contract import load_cell
from ate_core.errors import AteError, require_timeout
from cell_monitor.estop_state import Confirmation


@dataclass(frozen=True, kw_only=True)
class StopConfig:
    """Stop both arms fast, hold the grippers, silence policy and operators; or reset that."""

    reason: str = "ate stop"
    """What everybody is told as the reason."""
    reset: bool = False
    """End the stop instead. Nothing moves before a new act of an operator or /policy/start."""
    cell: str | None = None
    """cell.yaml, or the name of a packaged cell, for the names of its arms; None: the packaged
    one. Where it cannot be read the stop is sent all the same, and no arm confirms it."""
    timeout: float = 5.0
    """How long to ask before an arm counts as not stopped [s]."""

    def __post_init__(self) -> None:
        require_timeout(self.timeout)


def stop(config: StopConfig) -> int:
    """Ask all arms to stop until each confirms, or reset; returns 0 when that is certain."""
    from cell_monitor.nodes import stop_client

    if config.reset:
        done, message = stop_client.reset(config.timeout)
        print(message, file=sys.stdout if done else sys.stderr)
        return 0 if done else 1
    topics, trouble = arms_of(config.cell)
    confirmations = stop_client.stop(topics, config.reason, config.timeout)
    if trouble:
        print(f"error: the stop was sent, its arms are unknown: {trouble}", file=sys.stderr)
    for side, one in confirmations.items():
        print(f"{side} arm: {describe(one, config.timeout)}")
    stopped = succeeded(confirmations)
    if stopped:
        print("Nothing moves until `ate stop --reset` and then a new act (clutch, /policy/start).")
    else:
        print("error: not everything is known to stand; use the hardware stop", file=sys.stderr)
    return 0 if stopped else 1


def arms_of(cell: str | None) -> tuple[dict[str, str], str]:
    """Status topic of each arm by its side, and why they are unknown; empty when they are not."""
    try:
        found = load_cell(cell)
    except AteError as error:
        return {}, str(error)
    names = found.topics
    topics = {
        side: names.of_arm(arm.namespace, names.arm_status) for side, arm in found.arms.items()
    }
    return topics, ""


def succeeded(confirmations: Mapping[str, Confirmation]) -> bool:
    """Whether every arm that has a driver has confirmed, and at least one has."""
    driven = [one for one in confirmations.values() if one.driver]
    return bool(driven) and all(one.seconds is not None for one in driven)


def describe(one: Confirmation, timeout: float) -> str:
    """One line about an arm."""
    if one.seconds is not None:
        return f"stopped, confirmed after {1e3 * one.seconds:.0f} ms"
    if one.driver:
        return (
            f"NOT CONFIRMED within {timeout} s (its driver last said {one.state or 'nothing'}): "
            "the driver hangs or has died"
        )
    return "no driver found: it does not run, or in another ROS_DOMAIN_ID, network or --cell"
