"""From start to a judged episode: the table, what lies on the disk, and what a crash leaves."""

import itertools
import json
import os
import shutil

import numpy as np
import pytest

from ate_core.contract import load_cell
from ate_core.episode_folders import EpisodeFolders
from ate_core.episode_outcome import check_label, read_outcome
from ate_core.errors import EpisodeError
from ate_core.streams import cell_streams
from ate_recorder.activity import Activity
from ate_recorder.bag_writer import TYPESTORE
from ate_recorder.recorder import EpisodeRecorder
from ate_recorder.recorder_config import RecorderConfig
from ate_recorder.sample import Sample
from ate_recorder.session import STEPS, Act, Event, State

MS = 1_000_000
START = 1_700_000_000_000_000_000


def joints(position):
    """A joint state with one position, as CDR bytes."""
    types = TYPESTORE.types
    stamp = types["builtin_interfaces/msg/Time"](sec=START // 10**9, nanosec=0)
    message = types["sensor_msgs/msg/JointState"](
        header=types["std_msgs/msg/Header"](stamp=stamp, frame_id=""),
        name=["joint"],
        position=np.array([position]),
        velocity=np.array([]),
        effort=np.array([]),
    )
    return bytes(TYPESTORE.serialize_cdr(message, "sensor_msgs/msg/JointState"))


class Bench:
    """A recorder whose streams are fed by hand."""

    def __init__(self, cell, folder):
        self.cell, self.folder, self.now = cell, folder, START
        self.recorder = self.restarted()

    def restarted(self):
        """A new recorder on the same folder, as after a crash."""
        self.recorder = EpisodeRecorder(
            self.cell, RecorderConfig(output=self.folder, min_free_gb=0.0)
        )
        self.let_pass(1)
        return self.recorder

    def let_pass(self, count=20, command=False, motion=0.0):
        """Let every stream speak; commands and a motion [rad] as told."""
        for _ in range(count):
            self.now += 10 * MS
            turn = motion * (self.now - START) / 1e9
            for spec in cell_streams(self.cell):
                if spec.required or (command and spec.kind == "joint_command"):
                    position = turn if spec.kind in ("joints", "joint_command") else 0.5
                    self.recorder.receive(Sample(spec, joints(position), self.now))

    def record(self):
        """Record an episode in which something is done."""
        name = self.recorder.start(self.now).split()[-1]
        self.let_pass(command=True, motion=1.0)
        self.recorder.stop(self.now)
        return self.folder / name

    def names(self):
        return sorted(path.name for path in self.folder.glob("episode_*"))


@pytest.fixture
def bench(runtime_dir, tmp_path):
    return Bench(load_cell(None, "sim"), tmp_path / "bags")


def test_every_event_is_answered_in_every_state():
    assert set(STEPS) == set(itertools.product(State, Event))


FINISHED = {
    (Act.OPEN, Act.CLOSE, Act.LABEL),
    (Act.OPEN, Act.CLOSE, Act.SET_ASIDE),
    (Act.OPEN, Act.SET_ASIDE),
    (Act.OPEN, Act.MARK),
}
"""Everything that may be done to an episode from its start to its end."""
UNFINISHED = {State.RECORDING: (Act.OPEN,), State.PENDING: (Act.OPEN, Act.CLOSE)}


def lives_of_episodes(events):
    """What is done to each episode, and the state at the end."""
    state, lives = State.IDLE, []
    for event in events:
        step = STEPS[state, event]
        assert not (step.refusal and (step.acts or step.state is not state))
        assert (Act.LABEL in step.acts) <= (event is Event.KEEP), "only who keeps gives a label"
        for act in step.acts:
            if act is Act.OPEN:
                lives.append(())
            lives[-1] += (act,)
        state = step.state
    return lives, state


def test_no_order_of_requests_loses_an_episode_or_judges_it_unasked():
    for events in itertools.product(Event, repeat=5):
        lives, state = lives_of_episodes(events)
        if state in UNFINISHED:
            assert lives.pop() == UNFINISHED[state], events
        assert set(lives) <= FINISHED, events


def test_a_stopped_episode_is_pending_until_it_is_kept(bench):
    folder = bench.record()
    assert read_outcome(folder)["outcome"] == "pending"
    assert bench.recorder.status(bench.now)["state"] == "pending"
    assert bench.recorder.status(bench.now)["kept"] == 0
    assert bench.recorder.keep(bench.now) == "episode_000000 kept (success)"
    assert read_outcome(folder)["outcome"] == "success"
    assert bench.recorder.status(bench.now)["state"] == "idle"


@pytest.mark.parametrize("label", ["failure", "spilled a little"])
def test_an_episode_is_kept_with_the_label_that_a_person_gives(bench, label):
    folder = bench.record()
    bench.recorder.keep(bench.now, label)
    assert read_outcome(folder)["outcome"] == label


def test_a_label_is_of_the_episode_that_it_names_or_of_none(bench):
    first = bench.record()
    with pytest.raises(EpisodeError, match="episode 1 does not wait to be judged"):
        bench.recorder.keep(bench.now, "spilled", episode=1)
    assert read_outcome(first)["outcome"] == "pending"
    bench.recorder.keep(bench.now, "spilled", episode=0)
    assert read_outcome(first)["outcome"] == "spilled"
    with pytest.raises(EpisodeError, match="was judged already"):
        bench.recorder.keep(bench.now, "again", episode=0)


@pytest.mark.parametrize("label", ["", "  ", "pending", "discarded", "two\nlines", "x" * 61])
def test_a_label_that_says_nothing_is_refused_and_the_episode_waits_on(bench, label):
    bench.record()
    with pytest.raises(EpisodeError, match="label"):
        bench.recorder.keep(bench.now, label)
    assert bench.recorder.state is State.PENDING
    assert check_label(" spilled ") == "spilled"


def test_a_request_at_the_wrong_moment_is_refused_with_the_remedy(bench):
    recorder = bench.recorder
    for command in (recorder.stop, recorder.discard, recorder.keep, recorder.fail):
        with pytest.raises(EpisodeError, match="first"):
            command(bench.now)
    recorder.start(bench.now)
    for command in (recorder.start, recorder.keep, recorder.fail):
        with pytest.raises(EpisodeError, match="episode_000000 is being recorded: stop or"):
            command(bench.now)
    bench.let_pass(command=True, motion=1.0)
    recorder.stop(bench.now)
    for command in (recorder.start, recorder.stop):
        with pytest.raises(EpisodeError, match="episode_000000 waits to be judged"):
            command(bench.now)


def test_redo_after_a_discard_only_starts(bench):
    good = bench.record()
    bench.recorder.keep(bench.now)
    bench.recorder.start(bench.now)
    bench.let_pass(command=True, motion=1.0)
    bench.recorder.discard(bench.now)
    assert bench.recorder.redo(bench.now) == "recording episode_000002"
    assert read_outcome(good)["outcome"] == "success"


def test_redo_after_a_kept_episode_leaves_it_alone(bench):
    good = bench.record()
    bench.recorder.keep(bench.now)
    bench.recorder.redo(bench.now)
    assert good.is_dir() and read_outcome(good)["outcome"] == "success"


def test_redo_sets_the_open_or_the_pending_episode_aside_and_starts(bench):
    bench.recorder.start(bench.now)
    assert bench.recorder.redo(bench.now) == "recording episode_000001"
    bench.let_pass(command=True, motion=1.0)
    bench.recorder.stop(bench.now)
    assert bench.recorder.redo(bench.now) == "recording episode_000002"
    assert bench.names()[:2] == ["episode_000000.discarded", "episode_000001.discarded"]
    assert bench.recorder.status(bench.now)["discarded"] == 2


def test_redo_with_a_silent_stream_sets_nothing_aside(bench):
    folder = bench.record()
    with pytest.raises(EpisodeError, match="is silent"):
        bench.recorder.redo(bench.now + 10**10)
    assert read_outcome(folder)["outcome"] == "pending"


@pytest.mark.parametrize(
    ("command", "motion", "reason"),
    [
        (False, 0.0, "no arm was commanded"),
        (False, 1.0, "no arm was commanded"),
        (True, 0.0, "no arm and no gripper has moved"),
    ],
)
def test_an_empty_episode_is_refused_with_the_reason_and_set_aside(bench, command, motion, reason):
    bench.recorder.start(bench.now)
    bench.let_pass(command=command, motion=motion)
    with pytest.raises(EpisodeError, match=f"episode_000000 is empty and was set aside: {reason}"):
        bench.recorder.stop(bench.now)
    assert bench.names() == ["episode_000000.discarded"]
    assert reason in read_outcome(bench.folder / "episode_000000.discarded")["reason"]
    status = bench.recorder.status(bench.now)
    assert (status["state"], status["kept"], status["discarded"]) == ("idle", 0, 1)


def test_a_position_that_nobody_can_read_does_not_count_as_standing_still():
    specs = {spec.name: spec for spec in cell_streams(load_cell(None, "sim"))}
    activity = Activity()
    activity.add(specs["left_arm_command"], b"", START)
    activity.add(specs["left_arm_state"], b"\x00\x01", START)
    assert activity.lack() == ""


def test_a_crash_leaves_a_pending_episode_pending(bench):
    folder = bench.record()
    bench.restarted()
    assert bench.recorder.state is State.PENDING
    assert "episode_000000 waits" in bench.recorder.status(bench.now)["message"]
    with pytest.raises(EpisodeError, match="episode_000000 waits to be judged"):
        bench.recorder.start(bench.now)
    bench.recorder.keep(bench.now)
    assert read_outcome(folder)["outcome"] == "success"


def test_an_episode_that_another_recorder_closed_is_told_as_inherited_with_its_day(bench):
    def told():
        status = bench.recorder.status(bench.now)
        return status["state"], status["inherited"], status["waits_since_ns"]

    assert told() == ("idle", False, None)
    folder = bench.record()
    since = read_outcome(folder)["decided_ns"]
    assert told() == ("pending", False, since)
    bench.restarted()
    assert told() == ("pending", True, since)
    bench.recorder.keep(bench.now, episode=0)
    assert told() == ("idle", False, None)


def test_a_crash_while_an_episode_is_marked_costs_no_decision(bench, monkeypatch):
    folder = bench.record()
    monkeypatch.setattr(os, "fsync", lambda _: (_ for _ in ()).throw(OSError(28, "No space")))
    with pytest.raises(EpisodeError, match=r"cannot be marked success \(No space\)"):
        bench.recorder.keep(bench.now)
    assert read_outcome(folder)["outcome"] == "pending"
    assert bench.recorder.state is State.PENDING


def test_several_pending_episodes_are_judged_one_after_the_other(bench):
    first = bench.record()
    second = bench.folder / "episode_000001"
    shutil.copytree(first, second)
    bench.restarted()
    bench.recorder.keep(bench.now)
    bench.recorder.discard(bench.now)
    assert bench.names() == ["episode_000000", "episode_000001.discarded"]


def test_an_episode_that_somebody_else_has_judged_waits_no_longer(bench):
    folder = bench.record()
    EpisodeFolders(bench.folder).mark(folder, "failure", "", bench.now)
    assert bench.recorder.state is State.IDLE
    bench.recorder.start(bench.now)


def test_a_damaged_decision_ends_nothing(bench):
    folder = bench.record()
    (folder / "outcome.json").write_text(json.dumps([1]))
    bench.restarted()
    assert bench.recorder.state is State.IDLE
    with pytest.raises(EpisodeError, match="names no outcome"):
        read_outcome(folder)
