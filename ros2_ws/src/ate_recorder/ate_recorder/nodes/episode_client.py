"""What `ate episode` asks of a running recorder."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from std_msgs.msg import String
from std_srvs.srv import Trigger

from ate_core.contract import load_cell
from ate_core.episode_outcome import CLOSING
from ate_core.errors import NoCellError
from ate_core.json_text import UNREADABLE
from ate_core.label_request import LabelRequest
from ate_core.nodes.listening import listen
from ate_core.nodes.qos import DEFAULT_QOS, LATCHED_QOS
from ate_core.nodes.visitor import Visitor, visit


class EpisodeClient:
    """Asks the recorder and hears its status."""

    def __init__(self, visitor: Visitor, timeout: float, cell: str | None = None) -> None:
        """Prepare.

        Args:
            visitor: in the graph.
            timeout: longest wait [s].
            cell: names the recorder's topics; a file, or the name of a packaged cell.
        """
        self._visitor = visitor
        self._timeout = timeout
        self._prefix = load_cell(cell).topics.episode
        self._status: dict[str, Any] = {}
        topic = f"{self._prefix}/status"
        listen(visitor.node, String, topic, self._take_status, LATCHED_QOS)
        self._label = visitor.node.create_publisher(String, f"{self._prefix}/label", DEFAULT_QOS)

    def status(self) -> dict[str, Any]:
        """What the recorder says of itself.

        Raises:
            NoCellError: it says nothing.
        """
        if not self._visitor.spin_until(lambda: bool(self._status), self._timeout):
            raise NoCellError("recorder", self._timeout)
        return dict(self._status)

    def call(self, verb: str) -> tuple[bool, str]:
        """Call a service of the recorder; returns whether it was done, and what it says.

        Raises:
            NoCellError: nobody answers.
        """
        client = self._visitor.node.create_client(Trigger, f"{self._prefix}/{verb}")
        if not self._visitor.spin_until(client.service_is_ready, self._timeout):
            raise NoCellError("recorder", self._timeout)
        answer = client.call_async(Trigger.Request())
        if not self._visitor.spin_until(answer.done, self._timeout + CLOSING):
            raise NoCellError("recorder", self._timeout + CLOSING)
        response = answer.result()
        return bool(response.success), str(response.message)

    def label(self, text: str) -> tuple[bool, str]:
        """Keep the episode that waits now with a label.

        Returns:
            Whether that episode was, and what the recorder says of it.

        Raises:
            EpisodeError: the label is none.
            NoCellError: nobody hears it.
        """
        before = self.status()
        if before.get("state") != "pending":
            return False, "no episode waits to be kept; name one with --episode to label it anew"
        is_heard = self._label.get_subscription_count
        if not self._visitor.spin_until(lambda: is_heard() > 0, self._timeout):
            raise NoCellError("recorder", self._timeout)
        request = LabelRequest(label=text, episode=before.get("episode"))
        self._label.publish(String(data=request.text()))
        self._visitor.spin_until(
            lambda: request.find_answer(self._status) is not None, self._timeout + CLOSING
        )
        told = request.find_answer(self._status)
        return told or (False, "the recorder says nothing of the label; its log says why")

    def _take_status(self, message: String) -> None:
        try:
            status = json.loads(message.data)
            self._status = dict(status)
        except UNREADABLE:
            return


@contextmanager
def recorder(timeout: float, cell: str | None = None) -> Iterator[EpisodeClient]:
    """Join the graph for as long as the context lasts; see `EpisodeClient`."""
    with visit("ate_episode") as visitor:
        yield EpisodeClient(visitor, timeout, cell)
