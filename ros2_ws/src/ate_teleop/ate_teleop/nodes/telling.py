"""Tells an operator how things stand: lamps, rumble, and the prompt in the status."""

from collections.abc import Mapping
from dataclasses import replace

from ate_core.nodes.estop import EstopListener
from ate_teleop.clutch import ClutchState
from ate_teleop.hand_words import HandWords, Senses
from ate_teleop.lamps import lamps
from ate_teleop.nodes.news import News
from ate_teleop.nodes.sources import ButtonSource
from ate_teleop.nodes.wishes import WishServices
from ate_teleop.operator import OperatorStatus
from ate_teleop.prompts import prompt


class Telling:
    """What is known of the cell, as one operator sees and feels it."""

    def __init__(
        self,
        joycon: ButtonSource,
        news: News,
        wishes: WishServices,
        estop: EstopListener,
        *,
        number: int,
        buttons: Mapping[str, str],
    ) -> None:
        """Take where to tell it, and where to look.

        Args:
            joycon: has the lamps and the rumble.
            news: of both arms, both people and the episode.
            wishes: how many were refused.
            estop: whether the cell is stopped.
            number: of the operator, 1 or 2.
            buttons: action -> name of its button.
        """
        self._joycon, self._news, self._wishes, self._estop = joycon, news, wishes, estop
        self._number, self._buttons = number, buttons
        self._words = HandWords()

    def tell(self, status: OperatorStatus, now: float) -> OperatorStatus:
        """Light the lamps, let the hand feel what has happened at `now` [s], and add the words."""
        news, stop = self._news, self._estop.reason
        engaged = status.clutch is ClutchState.ENGAGED
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
        senses = Senses(
            clutch=status.clutch,
            beyond=status.beyond,
            near=bool(status.guard),
            other_stopped=bool(news.other.trouble),
            kept=news.kept + status.calibration_strokes,
            discarded=news.discarded,
            refused=self._wishes.refused + status.calibrations_refused,
            calibrating=status.calibrating,
        )
        if pattern := self._words.step(senses, now):
            self._joycon.rumble(pattern)
        return replace(
            status,
            other_operator=news.other_operator,
            prompt=prompt(self._buttons, status, episode, stop),
        )
