"""Carries out what operators ask of recorder and policy by button, without ever waiting."""

import time
from typing import Any

from rclpy.node import Node
from std_srvs.srv import Trigger

from ate_core.episode_outcome import CLOSING, SETTLING
from ate_core.policy_states import TAKEN_OVER
from ate_teleop.buttons import Event
from ate_teleop.prompts import KEEPING

VERBS = ("start", "stop", "keep", "fail", "discard", "redo", "save_last")
"""Services of the recorder that operators use."""
HAND_BACK = Event.HAND_BACK.value
START_POLICY = "/policy/start"
FINDING = 2.0
"""How long a service is looked for before its node counts as not running [s]."""


class WishServices:
    """Calls services of the recorder and of the policy, and logs their answers."""

    inherited = ""
    """Name of an episode that waits since before its recorder began; empty: none does."""

    def __init__(self, node: Node, episode_prefix: str) -> None:
        """Make the clients; `episode_prefix` is the prefix of the recorder's services."""
        self._logger = node.get_logger()
        names = {verb: f"{episode_prefix}/{verb}" for verb in VERBS} | {HAND_BACK: START_POLICY}
        self._clients = {verb: node.create_client(Trigger, name) for verb, name in names.items()}
        self.episode = ""
        """``idle``, ``recording`` or ``pending``; empty: no recorder was heard."""
        self._number = ""
        self.policy = ""
        """State of the policy as it was told last; empty: none was heard."""
        self.refused = 0
        """Requests that were refused so far."""
        self.changed = float("-inf")
        """When the state of the episode changed last, whoever asked for it [s, monotonic]."""
        self._waiting: dict[str, float] = {}
        self._called: dict[Any, tuple[str, float]] = {}
        node.create_timer(0.1, self._call_found)

    def take_episode(self, state: str, number: str, now: float, inherited: str = "") -> None:
        """Take the state of the episode with a number at a monotonic time [s].

        Where several wait to be judged, another number is a change as well; `inherited` is the
        name of one that waits since before its recorder began.
        """
        self.inherited = inherited
        if (state, number) != (self.episode, self._number):
            self.changed = now
        self.episode, self._number = state, number

    def ask(self, event: Event) -> None:
        """Send the request that an event stands for; returns at once."""
        verb = event.value
        if event is Event.HAND_BACK:
            self._hand_back()
            return
        is_clear = event is Event.FAIL and not self.inherited
        if not is_clear and time.monotonic() - self.changed < SETTLING:
            # A failure is that of the episode that has just ended; the others may be meant for
            # the state before.
            self._refuse(verb, f"the episode changed within {SETTLING:g} s: press again")
            return
        if event is Event.START_OR_STOP:
            verb = {"recording": "stop", "pending": "keep"}.get(self.episode, "start")
        if self.inherited and verb in ("keep", "redo"):
            old = f"{self.inherited} waits since before this recorder began"
            self._refuse(verb, f"{old}: discard it, or keep it with {KEEPING}")
            return
        if self._clients[verb].service_is_ready():
            self._call(verb)
        else:
            self._waiting[verb] = time.monotonic() + FINDING

    def _hand_back(self) -> None:
        """Let a policy go on that an operator took over from: at once, or not at all."""
        if self.policy != TAKEN_OVER:
            state = f"is {self.policy}" if self.policy else "was not heard"
            self._refuse(
                HAND_BACK, f"nothing to hand back: the policy {state}; {START_POLICY} starts one"
            )
        elif not self._clients[HAND_BACK].service_is_ready():
            self._refuse(HAND_BACK, f"{START_POLICY} is not offered: start the policy's node")
        else:
            self._call(HAND_BACK)

    def _refuse(self, verb: str, reason: str) -> None:
        self.refused += 1
        self._logger.warning(f"{verb}: {reason}")

    def forget(self) -> None:
        """Refuse what was asked for but not called yet; what was called is not taken back."""
        for verb in self._waiting:
            self._refuse(verb, "an emergency stop came before its service: press again after it")
        self._waiting.clear()

    def _call_found(self) -> None:
        """Call what was asked for before its service was found; in the executor.

        What nobody offers or answers in time is refused, so that the hand feels it.
        """
        now = time.monotonic()
        for future, (verb, deadline) in list(self._called.items()):
            if future.done():
                del self._called[future]
            elif now > deadline:
                del self._called[future]
                self._clients[verb].remove_pending_request(future)
                name = self._clients[verb].srv_name
                self._refuse(verb, f"{name} does not answer for {CLOSING:g} s: its node hangs")
        for verb, deadline in list(self._waiting.items()):
            client = self._clients[verb]
            if client.service_is_ready():
                self._call(verb)
            elif now > deadline:
                self._refuse(verb, f"nobody offers {client.srv_name}: start its node")
            else:
                continue
            self._waiting.pop(verb, None)

    def _call(self, verb: str) -> None:
        future = self._clients[verb].call_async(Trigger.Request())
        self._called[future] = (verb, time.monotonic() + CLOSING)
        future.add_done_callback(lambda done: self._answered(verb, done))

    def _answered(self, verb: str, future: Any) -> None:
        answer = future.result()
        if answer.success:
            self._logger.info(f"{verb}: {answer.message or 'done'}")
        else:
            self._refuse(verb, answer.message or "refused")
