"""Parameters of the policy's node that say where its network runs, if not here."""

import logging
from dataclasses import dataclass

from rcl_interfaces.msg import ParameterDescriptor
from rclpy.node import Node

from ate_core.contract import Cell
from ate_core.errors import UsageError
from ate_core.nodes.parameters import declare_text
from ate_policy.remote.client import RemotePolicy, connect
from ate_policy.remote.latency import deadline_finding

logger = logging.getLogger("policy")


@dataclass(frozen=True, kw_only=True)
class ServerOptions:
    """As declared."""

    address: str
    """ws://HOST:PORT; empty: there is none."""
    token_file: str
    """File with the word it asks for; empty: none."""
    keys_file: str
    """File that says what a server of openpi reads and gives; empty: it is `ate serve`."""
    deadline_ms: int
    """A chunk is waited for so long [ms]."""

    @staticmethod
    def declare(node: Node) -> "ServerOptions":
        """Declare and read them."""
        what = "how long a chunk of the server is waited for [ms]"
        deadline = ParameterDescriptor(description=what, read_only=True)
        return ServerOptions(
            address=declare_text(node, "policy_server", "", "its server instead, ws://HOST:PORT"),
            token_file=declare_text(node, "policy_token", "", "file with the server's token"),
            keys_file=declare_text(node, "policy_keys", "", "file: what a server of openpi reads"),
            deadline_ms=int(node.declare_parameter("policy_deadline_ms", 800, deadline).value),
        )

    def require_in_time(self, answer: float) -> None:
        """Refuse a server that is too slow for its deadline, and warn of one that nearly is.

        Args:
            answer: From a request to its chunk, as the warm-up took [s]; without a server it may
                be anything.

        Raises:
            UsageError: With both times and what to give instead.
        """
        slow = deadline_finding(answer, 1e-3 * self.deadline_ms) if self.address else None
        if slow is not None and slow.status == "fail":
            raise UsageError(slow.text)
        if slow is not None:
            logger.warning("%s", slow.text)

    def connect(self, cell: Cell) -> RemotePolicy:
        """The policy of the server, for a cell."""
        return connect(
            self.address,
            cell,
            token_file=self.token_file,
            keys_file=self.keys_file,
            answer=1e-3 * self.deadline_ms,
        )
