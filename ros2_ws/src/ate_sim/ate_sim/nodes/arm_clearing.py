"""Clear and enable the arms of the simulated cell that follow nobody, as a person does.

Run: ``python -m ate_sim.nodes.arm_clearing``. What was done is printed, one line for each arm. An
emergency stop is left to whoever pressed it.
"""

import json
import logging
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import tyro
from std_msgs.msg import String
from std_srvs.srv import Trigger

from ate_core.contract import Cell, load_cell
from ate_core.json_text import UNREADABLE, plain_text
from ate_core.nodes.listening import listen
from ate_core.nodes.qos import LATCHED_QOS
from ate_core.nodes.visitor import Visitor, visit

LOG = logging.getLogger(__name__)
ACTS = {"fault": ("clear_errors", "enable"), "stopped": ("enable",), "not_ready": ("enable",)}
"""What makes an arm follow again, by its state; other states end by themselves."""


@dataclass(frozen=True, kw_only=True)
class ClearingConfig:
    """Clear and enable the arms of the simulated cell that follow nobody."""

    cell: Path | None = None
    """cell.yaml; the packaged one by default."""
    timeout: float = 8.0
    """Longest wait for each answer [s]; clearing may take 5."""


def clear_arms(cell: Cell, timeout: float) -> Iterator[str]:
    """Read why arms follow nobody and end it; yields a line for each arm that was cleared.

    Args:
        cell: simulated.
        timeout: longest wait for each answer [s].
    """
    told: dict[str, dict[str, object]] = {}

    def take(side: str, message: String) -> None:
        try:
            told[side] = dict(json.loads(message.data))
        except UNREADABLE:
            return

    with visit("arm_clearing") as visitor:
        for side, arm in cell.arms.items():
            topic = cell.topics.of_arm(arm.namespace, cell.topics.arm_status)
            listen(visitor.node, String, topic, partial(take, side), LATCHED_QOS)
        visitor.spin_until(lambda: len(told) == len(cell.arms), timeout)
        for side, status in dict(told).items():
            why = plain_text(f"{side} arm: {status.get('state')}: {status.get('reason')}")
            acts = ACTS.get(str(status.get("state")), ())
            if not acts or status.get("estop"):
                continue
            prefix = cell.topics.of_arm(cell.arms[side].namespace, "arm")
            refusals = [_refusal(visitor, f"{prefix}/{act}", timeout) for act in acts]
            if refusals[-1]:
                LOG.warning("%s; not cleared: %s", why, "; ".join(filter(None, refusals)))
            else:
                yield f"{why}; {' and '.join(acts)} done"


def _refusal(visitor: Visitor, service: str, timeout: float) -> str:
    """Call a service; why it did not do what it is for, empty where it did."""
    client = visitor.node.create_client(Trigger, service)
    if not visitor.spin_until(client.service_is_ready, timeout):
        return f"{service} is not offered"
    answer = client.call_async(Trigger.Request())
    if not visitor.spin_until(answer.done, timeout):
        return f"{service} does not answer within {timeout:g} s"
    response = answer.result()
    return "" if response.success else f"{service}: {response.message}"


def main() -> int:
    """Entry point."""
    config = tyro.cli(ClearingConfig)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    for line in clear_arms(load_cell(config.cell, "sim"), config.timeout):
        print(line, flush=True)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
