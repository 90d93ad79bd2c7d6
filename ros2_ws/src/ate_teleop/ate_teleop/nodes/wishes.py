"""Carries out what operators ask for by button: episodes and homing, without ever waiting."""

from typing import Any

from rclpy.node import Node
from std_srvs.srv import Trigger

from ate_teleop.buttons import Event


class WishServices:
    """Calls the recorder's and the arm's services and logs their answers."""

    def __init__(self, node: Node, episode_prefix: str) -> None:
        """Make the clients; `episode_prefix` is the prefix of the recorder's services."""
        self._logger = node.get_logger()
        names = {verb: f"{episode_prefix}/{verb}" for verb in ("start", "stop", "discard", "redo")}
        names["home"] = "arm/home"
        self._clients = {verb: node.create_client(Trigger, name) for verb, name in names.items()}

    def ask(self, event: Event, recording: bool) -> None:
        """Send the request that an event stands for; returns at once."""
        verb = event.value
        if event is Event.START_OR_STOP:
            verb = "stop" if recording else "start"
        client = self._clients[verb]
        if not client.service_is_ready():
            self._logger.warning(
                f"button asks for {client.srv_name}, which nobody offers: start its node"
            )
            return
        future = client.call_async(Trigger.Request())
        future.add_done_callback(lambda done: self._answered(verb, done))

    def _answered(self, verb: str, future: Any) -> None:
        answer = future.result()
        # Two calls: rclpy refuses another severity from the same line.
        if answer.success:
            self._logger.info(f"{verb}: {answer.message or 'done'}")
        else:
            self._logger.warning(f"{verb}: {answer.message or 'refused'}")
