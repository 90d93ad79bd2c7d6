"""Whether a gripper answers, for `ate doctor`.

A gripper has no question that is no command: as at every start of its driver, the first frame asks
it to close at the slowest speed, less than a tenth of a count, and then to stay where it is.
"""

import sys
import time
from collections.abc import Iterator

from ate_core.contract import Cell
from ate_core.findings import Finding, failed, passed, probe_main, warned
from omnipicker_driver.client import ClientConfig, GripperClient

LOOK_TIME = 1.0
"""How long it is asked [s]."""
MIN_SHARE = 0.95
"""Share of polls that must be answered."""


def look(cell: Cell, side: str) -> Iterator[Finding]:
    """Open the port and count the answers."""
    gripper, what = cell.grippers[side], f"{side} gripper"
    client = GripperClient(ClientConfig.from_cell(gripper, cell.rates.gripper))
    client.start()
    try:
        time.sleep(LOOK_TIME)  # it is watched for this long: the counts are the result
        state = client.state
    finally:
        client.stop()
    polls = state.answers + state.unanswered
    if not state.connected:
        yield failed(what, state.error, "")
    elif state.report is None:
        yield failed(
            what,
            f"no answer on {gripper.port} to {polls} polls",
            "switch it on; check the wiring (A and B), baud and device_id in the cell file",
        )
    else:
        share = state.answers / polls
        value = f"{gripper.port}: {100 * share:.0f} % of {polls} polls answered"
        if share < MIN_SHARE:
            remedy = (
                "set the adapter's latency timer to 1 ms (docs/workstation.md), check the cable"
            )
            yield warned(what, value, remedy, f"{100 * MIN_SHARE:.0f} %")
        else:
            yield passed(what, value)


if __name__ == "__main__":
    sys.exit(probe_main(look, "gripper"))
