"""What the converter will reject for its timing, the recorder says when the episode ends."""

from dataclasses import replace

import pytest

from ate_recorder.recorder import EpisodeRecorder
from ate_recorder.recorder_config import RecorderConfig
from ate_recorder.sample import Sample
from training.convert_bags import ConvertConfig, convert_episode

REJECTED = "THE CONVERTER WILL REJECT IT"


def without(messages, name, begin, end):
    """Leave out what a stream sends between two moments of the episode [s]."""
    first = messages[0].stamp_ns
    return [
        m for m in messages if m.spec.name != name or not begin < (m.stamp_ns - first) * 1e-9 < end
    ]


def held_up(messages, name, seconds):
    """Let what a stream sends from its middle on come later [s], but not out of turn."""
    mine = [m for m in messages if m.spec.name == name]
    late_ns = mine[len(mine) // 2].stamp_ns + round(seconds * 1e9)
    moved = [
        replace(m, receive_ns=max(m.receive_ns, late_ns))
        if m.spec.name == name and m.stamp_ns >= mine[len(mine) // 2].stamp_ns
        else m
        for m in messages
    ]
    return sorted(moved, key=lambda m: m.receive_ns)


@pytest.mark.parametrize(
    ("name", "begin", "end", "is_told"),
    [
        ("cam_high", 1.0, 1.3, False),
        ("cam_high", 1.0, 1.8, True),
        ("cam_left_wrist", 2.2, 9.0, True),  # it died
        ("cam_left_wrist", 2.7, 9.0, False),
        ("cam_right_wrist", -1.0, 0.7, False),  # begun without it
        ("right_arm_state", 1.0, 1.15, False),
        ("right_arm_state", 1.0, 1.4, True),
        ("left_gripper_state", 1.0, 1.4, True),
        ("objects", 1.0, 1.3, False),
    ],
)
def test_a_stream_that_pauses_is_told_at_the_end_if_the_converter_rejects_it(
    studio, tmp_path, name, begin, end, is_told
):
    messages = without(studio.messages(seconds=3.0), name, begin, end)
    assert len(messages) < len(studio.messages(seconds=3.0))
    bag, told = studio.record_and_listen(tmp_path / "bags", messages)
    report = convert_episode(bag, ConvertConfig(bags=tmp_path / "bags", output=tmp_path / "data"))
    assert (report.result == "rejected") == is_told, report.reason
    assert (REJECTED in told) == is_told, told
    assert not is_told or f"{name} paused for" in told


def test_a_stream_that_was_held_up_is_told_at_the_end(studio, tmp_path):
    messages = studio.messages(seconds=6.0)
    for seconds, is_told in ((1.5, False), (2.5, True)):
        folder = tmp_path / str(seconds)
        late = held_up(messages, "left_arm_state", seconds)
        bag, told = studio.record_and_listen(folder / "bags", late)
        report = convert_episode(bag, ConvertConfig(bags=folder / "bags", output=folder / "data"))
        assert (report.result == "rejected") == is_told, report.reason
        assert ("left_arm_state came 2.5 s late" in told) == is_told, told
        assert not is_told or "too busy" in report.reason


def test_an_episode_that_is_set_aside_anyway_is_not_told_of(studio, tmp_path):
    config = RecorderConfig(output=tmp_path, min_free_gb=0.0)
    recorder = EpisodeRecorder(studio.cell, config)
    messages = without(studio.messages(seconds=3.0), "cam_high", 1.0, 2.0)
    for spec in recorder.required():
        recorder.receive(Sample(spec, b"", studio.start_ns - 10**6))
    recorder.start(studio.start_ns)
    for message in messages:
        recorder.receive(Sample(message.spec, message.data, message.receive_ns))
    told = recorder.discard(messages[-1].receive_ns)
    assert "discarded: 3.0 s; " in told and REJECTED not in told


def test_many_pauses_are_told_in_few_words(studio, tmp_path):
    messages = studio.messages(seconds=3.0)
    for name in ("cam_high", "cam_left_wrist", "cam_right_wrist", "left_arm_state"):
        messages = without(messages, name, 1.0, 2.0)
    _, told = studio.record_and_listen(tmp_path / "bags", messages)
    assert told.count("paused for") == 3 and "and 1 more; end other programs" in told
