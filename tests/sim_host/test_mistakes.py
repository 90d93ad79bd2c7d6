"""People who make mistakes: what they keep is whole, and what they spoil is discarded."""

from collections import Counter
from importlib import util
from pathlib import Path

import numpy as np
import pytest

from ate_core.errors import UsageError
from ate_sim.people.episode import Demonstrator, DemonstratorConfig
from ate_sim.people.mistakes import SPOILING, MistakesConfig, draw_slips

_spec = util.spec_from_file_location("episode_cell", Path(__file__).with_name("test_episode.py"))
ideal = util.module_from_spec(_spec)
_spec.loader.exec_module(ideal)

FAR = 0.29
"""Where the plan of the ideal cell ends; the gripper closes at 0.8 of the way."""


class SleepyController(ideal.FakeController):
    """Reports nothing while it sleeps, and has forgotten its lamps afterwards."""

    asleep = False

    def drop(self):
        self.asleep = True

    def restore(self):
        self.asleep, self.lamps = False, 0


class HumanCell(ideal.FakeCell):
    """The ideal loop, with what the real one does about lost hands and sleeping Joy-Cons.

    Beside the episodes it keeps the truth about each: when it began, and what happened in it.
    """

    def __init__(self):
        super().__init__()
        for side in ideal.SIDES:
            self.controllers[side] = SleepyController()
            self.people[side]._buttons = self.controllers[side]
        self.unseen, self.blocked_sides = set(), set()
        self.frozen, self.sticks = set(), set()
        self.truths = []
        self.truth = {}
        self.carried = {}
        self.y_was_held = False
        self.ticks_recorded = 0

    def headset(self, side):
        return SeeingHeadset(self, side)

    def teleoperate(self):
        for side, controller in self.controllers.items():
            shoulder = controller.held & {"l", "r"}
            stick = f"{side}_stick" in controller.held and not controller.asleep
            if stick and side not in self.sticks:
                self.frozen ^= {side}
            self.sticks = self.sticks | {side} if stick else self.sticks - {side}
            if controller.asleep or side in self.unseen or side in self.frozen:
                self.blocked_sides.add(side)
            elif not shoulder:
                self.blocked_sides.discard(side)
        held = {side: one.held for side, one in self.controllers.items()}
        for side in self.blocked_sides:  # open until the button was up
            self.controllers[side].held = held[side] - {"l", "r"}
        for side, one in self.controllers.items():
            if one.asleep:
                self.controllers[side].held = set()
        super().teleoperate()
        for side, one in self.controllers.items():
            one.held = held[side]
            if one.asleep:
                one.lamps = 0
        self.look_at_what_is_carried()

    def look_at_what_is_carried(self):
        for side, one in self.controllers.items():
            closed = bool(one.held & {"zl", "zr"})
            away = 0.2 < self.tools[side][0, 3] < FAR
            if self.carried.get(side) and not closed and away and self.recording:
                self.truth["dropped"] = True
            self.carried[side] = closed

    def record(self):
        before, count = self.recording, len(self.episodes)
        again = "y" in self.controllers["right"].held
        if again and not self.y_was_held:
            if self.recording or self.pending:
                self.close("discarded")
                self.episodes.append("discarded")
                count += 1
            self.recording, self.pending, before = True, False, False
        self.y_was_held = again
        super().record()
        if self.recording and not before:
            self.truth = {"began at": float(self.tools["left"][0, 3])}
        if before and not self.recording and self.pending:
            self.truth["ended at"] = float(self.tools["left"][0, 3])
        for outcome in self.episodes[count:]:
            self.close(outcome)

    def close(self, outcome):
        self.truths.append((outcome, self.truth))

    def is_whole(self, truth):
        began_at_home = truth["began at"] < 0.13
        ended_there = truth.get("ended at", 0.0) > FAR
        return began_at_home and ended_there and not truth.get("dropped")


class SeeingHeadset(ideal.FakeHeadset):
    def set_tracked(self, hand, tracked):
        (self.cell.unseen.discard if tracked else self.cell.unseen.add)(self.side)


def demonstrated(share, seed, **changes):
    cell = HumanCell()
    habits = DemonstratorConfig(
        mistakes=MistakesConfig(share=share, seed=11), lamp_timeout=1.0, **changes
    )
    people = Demonstrator(habits, cell.people, cell.mappings, cell, cell)
    return cell, cell.run(people.run(seed), timeout=300.0)


def test_what_clumsy_people_keep_is_whole_and_what_they_spoil_is_discarded():
    slipped, kept, spoiled = Counter(), 0, Counter()
    for seed in range(14):
        cell, result = demonstrated(0.35, seed)
        outcomes = [outcome for outcome, _ in cell.truths]
        assert outcomes.count("kept") == result.kept, (seed, result)
        assert not cell.recording and not cell.pending, "nothing is left over"
        for outcome, truth in cell.truths:
            assert outcome != "kept" or cell.is_whole(truth), (seed, truth, result)
        assert not any(one.held for one in cell.controllers.values())
        assert not cell.unseen and not cell.frozen
        slipped.update(result.mistakes)
        spoiled.update(result.spoiled)
        kept += result.kept
    assert kept >= 10, "most episodes succeed in the end"
    assert sum(spoiled.values()) >= 5 and len(spoiled) >= 3
    for kind in ("pause", "hand out of sight", "Joy-Con asleep", "wrong button", "frozen"):
        assert slipped[kind], slipped


@pytest.mark.parametrize(("where", "button", "told"), SPOILING)
def test_a_button_that_spoils_the_episode_never_leaves_a_part_of_it_kept(where, button, told):
    """Even where nobody notices: the truth is what the recorder has."""
    cell = HumanCell()
    seed = next(
        seed
        for seed in range(200)
        if [slip.name for slip in draw_slips(MistakesConfig(share=0.12, seed=2), seed, 0)]
        == [f"pressed {button}"]
    )
    habits = DemonstratorConfig(mistakes=MistakesConfig(share=0.12, seed=2), lamp_timeout=1.0)
    people = Demonstrator(habits, cell.people, cell.mappings, cell, cell)
    result = cell.run(people.run(seed), timeout=300.0)
    assert result.spoiled[0] == told
    assert cell.truths[0][0] == "discarded" and not cell.is_whole(cell.truths[0][1])
    assert result.kept and cell.is_whole(cell.truths[-1][1])


def test_an_episode_that_ended_unseen_on_the_way_is_not_kept():
    cell = HumanCell()
    original = cell.record

    def record():
        if cell.recording and cell.tools["left"][0, 3] > 0.2:
            cell.recording, cell.pending = False, True  # somebody else stopped it
            cell.truth["ended at"] = float(cell.tools["left"][0, 3])
        original()

    cell.record = record
    people = Demonstrator(
        DemonstratorConfig(lamp_timeout=0.5), cell.people, cell.mappings, cell, cell
    )
    result = cell.run(people.run(seed=0))
    assert not result.kept and "recording lamp still on" in result.reason
    assert [outcome for outcome, _ in cell.truths] == ["discarded"]


def test_people_who_spoil_it_again_and_again_give_up():
    cell, result = demonstrated(1.0, 0, redos=2)
    assert not result.kept and not result.success
    assert len(result.spoiled) == 2 and result.reason
    assert [outcome for outcome, _ in cell.truths if outcome == "kept"] == []


def test_slips_are_seeded_and_nobody_slips_unasked():
    assert draw_slips(MistakesConfig(), 3, 0) == ()
    config = MistakesConfig(share=0.5, seed=4)

    def names(config, seed, attempt):
        return [(slip.name, slip.share) for slip in draw_slips(config, seed, attempt)]

    assert names(config, 3, 0) == names(config, 3, 0)
    assert names(config, 3, 0) != names(config, 3, 1)
    assert names(config, 3, 0) != names(MistakesConfig(share=0.5, seed=5), 3, 0)
    shares = [share for _, share in names(MistakesConfig(share=1.0), 0, 0)]
    assert len(shares) == 8 and shares == sorted(shares)
    for wrong in (-0.1, 1.1, float("nan")):
        with pytest.raises(UsageError, match="share from 0 to 1"):
            MistakesConfig(share=wrong)
    assert np.isfinite(shares).all()
