"""Tells an operator how things stand: lamps, rumble, and the prompt in the status."""

from collections.abc import Mapping
from dataclasses import replace
from queue import SimpleQueue

from ate_core.nodes.estop import EstopListener
from ate_teleop.clutch import ClutchState
from ate_teleop.hand_words import HandWords, Senses
from ate_teleop.lamps import lamps
from ate_teleop.nodes.feedback import ForceFeedback
from ate_teleop.nodes.news import News
from ate_teleop.nodes.sources import ButtonSource, HandSource
from ate_teleop.nodes.wishes import WishServices
from ate_teleop.operator_status import OperatorStatus
from ate_teleop.prompts import prompt


class Telling:
    """What is known of the cell, as one operator sees and feels it."""

    def __init__(
        self,
        hand: HandSource,
        joycon: ButtonSource,
        news: News,
        wishes: WishServices,
        estop: EstopListener,
        *,
        number: int,
        buttons: Mapping[str, str],
        force: ForceFeedback | None = None,
    ) -> None:
        """Take where to tell it, and where to look.

        Args:
            hand: why it shows none.
            joycon: has the lamps and the rumble.
            news: of both arms, both people and the episode.
            wishes: how many were refused.
            estop: whether the cell is stopped.
            number: of the operator, 1 or 2.
            buttons: action -> name of its button.
            force: what is felt of contact; None: nothing.
        """
        self._hand = hand
        self._joycon, self._news, self._wishes, self._estop = joycon, news, wishes, estop
        self._number, self._buttons, self._force = number, buttons, force
        self._words = HandWords()
        self._clutch = ClutchState.RELEASED
        self.openings: SimpleQueue[str] = SimpleQueue()
        """Why the clutch let go or did not engage, for a log that this loop does not wait for."""

    def tell(self, status: OperatorStatus, now_ns: int) -> OperatorStatus:
        """Light the lamps, let the hand feel what happens at `now_ns`, and add the words."""
        news, stop = self._news, self._estop.reason
        engaged = status.clutch is ClutchState.ENGAGED
        if status.clutch is ClutchState.BLOCKED and self._clutch is not ClutchState.BLOCKED:
            self.openings.put(status.reason)
        self._clutch = status.clutch
        episode = self._wishes.episode
        on, flashing = lamps(
            self._number,
            recording=episode == "recording",
            engaged=engaged,
            pending=episode == "pending",
            trouble=bool(news.own.trouble or news.other.trouble or stop),
            battery_low=status.battery_low,
        )
        self._joycon.set_lamps(on, flashing)
        force = self._force.poll(now_ns) if self._force else 0.0
        senses = Senses(
            clutch=status.clutch,
            beyond=status.beyond,
            near=bool(status.guard),
            force=force or 0.0,
            own_stopped=bool(news.own.trouble),
            other_stopped=bool(news.other.trouble),
            kept=news.kept + status.calibration_strokes,
            discarded=news.discarded,
            refused=self._wishes.refused + status.calibrations_refused,
            calibrating=status.calibrating,
        )
        if pattern := self._words.step(senses, now_ns * 1e-9):
            self._joycon.rumble(pattern)
        told = replace(
            status,
            other_operator=news.other_operator,
            force_silent=force is None,
            headset_trouble="" if status.tracked else self._hand.trouble,
        )
        words = prompt(
            self._buttons,
            told,
            episode,
            stop,
            self._wishes.policy,
            self._wishes.inherited,
            news.recorder,
        )
        return replace(told, prompt=words)
