"""Two people ask the recorder at once: done once, and nothing is swallowed."""

import errno
import itertools
import json
import os
import shutil
from types import SimpleNamespace

import pytest

from ate_core.contract import load_cell
from ate_core.episode_folders import EpisodeFolders
from ate_core.episode_outcome import SETTLING, read_outcome
from ate_core.errors import EpisodeError
from ate_core.label_request import LabelRequest
from ate_recorder.at_once import AtOnce
from ate_recorder.bag_writer import BagWriter
from ate_recorder.recorder import EmptyEpisodeError, EpisodeRecorder
from ate_recorder.recorder_config import RecorderConfig
from ate_recorder.session import State
from tests.recorder.test_session import Bench

pytestmark = pytest.mark.ros


class Desk:
    """The services of a recorder, which are called by name; time stands still in between."""

    def __init__(self, recorder, now_ns=lambda: 0):
        pytest.importorskip("rclpy")
        from ate_recorder.nodes.recorder_node import RecorderNode

        self.now, self.recorder, self.log = 1.0, recorder, []
        tell = SimpleNamespace(info=self.log.append, warning=self.log.append)
        self.node = SimpleNamespace(
            _at_once=AtOnce(lambda: self.now), _recorder=recorder, _now_ns=now_ns,
            _taker=SimpleNamespace(catch_up=lambda: None, check=lambda: None),
            _publish_status=lambda: None, get_logger=lambda: tell, _labelled={},
        )  # fmt: skip
        self.node._answer = lambda *words, **more: RecorderNode._answer(self.node, *words, **more)
        self.node._carry_out = lambda *words: RecorderNode._carry_out(self.node, *words)
        self.supervise = lambda: RecorderNode._supervise(self.node)
        self._take_label = lambda text: RecorderNode._take_label(self.node, text)

    def ask(self, name, command=None):
        """Whether it was done, and the words."""
        response = SimpleNamespace(success=None, message="")
        self.node._answer(name, command or getattr(self.recorder, name))(None, response)
        assert response.message in self.log, "nothing is swallowed"
        return response.success, response.message

    def label(self, text, episode=None):
        asked = LabelRequest(label=text, episode=episode)
        text = asked.text() if episode is not None else text
        self._take_label(SimpleNamespace(data=text))
        return self.node._labelled["success"]

    def settle(self):
        self.now += SETTLING


def test_what_two_people_ask_for_at_once_is_done_once_whatever_the_wall_clock_does():
    wall_ns, done = iter(range(10**12, 0, -(10**9))), []  # it goes backwards
    desk = Desk(SimpleNamespace(judged=""), lambda: next(wall_ns))

    def ask(name, error=None):
        def command(_):
            done.append(name)
            if error is not None:
                raise error
            desk.now += 1.0  # a slow disk: the second request waits meanwhile
            return name

        return desk.ask(name, command)[0]

    for name in ("redo", "redo", "discard", "discard", "start", "discard", "start", "start"):
        assert ask(name)
    assert done == ["redo", "discard", "start", "discard", "start", "start"]
    for _ in range(2):
        desk.settle()
        assert ask("redo")
    assert done[6:] == ["redo", "redo"]
    for judged in ("keep", "fail", "discard", "label"):  # the next one must not be judged unseen
        desk.settle()
        assert ask(judged)
        others = {"keep", "fail", "discard", "redo"} - {judged}
        assert not any(ask(other) for other in others) and ask("start")
    assert done[8:] == ["keep", "start", "fail", "start", "discard", "start", "label", "start"]
    empty = EmptyEpisodeError("empty: set aside")
    assert not ask("stop", empty) and not ask("fail"), "an older one may wait"
    desk.settle()
    none = EpisodeError("no episode is being recorded")
    assert not ask("stop", none) and ask("discard"), "what waits is not discarded yet"
    assert done[-1] == "discard"


@pytest.fixture
def bench(runtime_dir, tmp_path):
    return Bench(load_cell(None, "sim"), tmp_path / "bags")


def desk_of(bench):
    return Desk(bench.recorder, lambda: bench.now)


def outcomes(bench):
    return {
        path.name: json.loads((path / "outcome.json").read_text())["outcome"]
        for path in sorted(bench.folder.glob("episode_*"))
        if (path / "outcome.json").exists()
    }


JUDGED = {"keep": "success", "fail": "failure", "discard": "discarded"}
WISHES = ("start", "stop", "keep", "fail", "discard", "redo")


@pytest.mark.parametrize("state", ["recording", "pending", "two pending"])
@pytest.mark.parametrize("wishes", [*itertools.product(WISHES, WISHES)], ids="-".join)
def test_two_wishes_at_once_touch_one_episode_and_each_is_answered_as_it_went(
    bench, state, wishes, monkeypatch
):
    """Whatever is asked for twice: what is told as done is done, what is refused is not."""
    for name in ("fsync", "fdatasync"):  # nobody cuts the power
        monkeypatch.setattr(os, name, lambda _: None)
    if state == "recording":
        bench.recorder.start(bench.now)
    if state in ("pending", "two pending"):
        first = bench.record()
        if state == "two pending":
            shutil.copytree(first, bench.folder / "episode_000001")
            bench.restarted()
    desk = desk_of(bench)
    for wish in wishes:
        if bench.recorder.recording:
            bench.let_pass(15, command=True, motion=1.0)
        before, was = outcomes(bench), bench.recorder.state
        done, words = desk.ask(wish)
        after = outcomes(bench)
        if not done:
            assert after == before and bench.recorder.state is was, words
        elif "just before" in words:
            assert wish == wishes[0] and after == before
        elif wish in JUDGED:
            changed = {name: after[name] for name in after if after[name] != before.get(name)}
            assert list(changed.values()) == [JUDGED[wish]]
    if state == "two pending":
        assert outcomes(bench).get("episode_000001") == "pending", "nobody has seen it"


class RefusingBag(BagWriter):
    """A disk that refuses what is written at the end of an episode."""

    def close(self):
        raise OSError(errno.EIO, "Input/output error")


def refusing(bench):
    bench.recorder = EpisodeRecorder(
        bench.cell, RecorderConfig(output=bench.folder, min_free_gb=0.0), open_bag=RefusingBag
    )
    bench.let_pass(1)
    bench.recorder.start(bench.now)
    bench.let_pass(command=True, motion=1.0)
    return desk_of(bench)


def test_a_discard_after_a_stop_that_the_disk_refused_is_not_told_as_done(bench):
    desk = refusing(bench)
    done, words = desk.ask("stop")
    assert not done and "the disk refused it" in words
    done, words = desk.ask("discard")
    assert not done and "the episode ended just before" in words
    assert outcomes(bench) == {"episode_000000": "interrupted"}


@pytest.mark.parametrize("wish", ["discard", "redo"])
def test_an_episode_whose_disk_refuses_the_end_is_discarded_all_the_same(bench, wish):
    desk = refusing(bench)
    done, words = desk.ask(wish)
    assert done, words
    assert outcomes(bench) == {"episode_000000.discarded": "discarded"}
    assert bench.recorder.state is (State.RECORDING if wish == "redo" else State.IDLE)
    assert bench.recorder.status(bench.now)["discarded"] == 1


def test_a_judgement_right_after_an_episode_that_ended_unasked_takes_no_older_one(bench):
    first = bench.record()
    shutil.copytree(first, bench.folder / "episode_000001")
    bench.restarted()
    desk = desk_of(bench)
    desk.supervise()
    EpisodeFolders(bench.folder).mark(first, "failure", "", bench.now)
    assert not desk.ask("keep")[0]
    assert outcomes(bench)["episode_000001"] == "pending"
    desk.settle()
    assert desk.ask("keep")[0]


def test_a_label_for_whatever_waits_is_of_no_episode_that_comes_up_just_then(bench):
    first = bench.record()
    for number in (1, 2):
        shutil.copytree(first, bench.folder / f"episode_00000{number}")
    bench.restarted()
    desk = desk_of(bench)
    assert desk.label("success")
    assert not desk.label("failure"), "it was meant for the same"
    assert desk.label("failure", episode=1), "it says what it is of"
    assert [read_outcome(bench.folder / f"episode_00000{n}")["outcome"] for n in range(3)] == [
        "success", "failure", "pending",
    ]  # fmt: skip
