"""Recordings of hands: what is written comes back, and what cannot be is refused by name."""

import errno
import json
import os
from dataclasses import replace

import numpy as np
import pytest

from ate_core.contract import load_cell
from ate_core.errors import EpisodeError
from operator_devices import headset_protocol as protocol
from operator_devices.hands_file import (
    HandsHeader,
    check_session,
    header_line,
    joints_line,
    message_line,
    read_hands,
    read_session,
    settings_of,
)
from operator_devices.hands_recorder import HandsRecorder
from operator_devices.joycon_report import BUTTONS, JoyConState

START_NS = 1_790_000_000_000_000_000
POSE = np.eye(4)


def header(side="left"):
    cell = load_cell(hardware="sim")
    return HandsHeader(
        start_ns=START_NS,
        side=side,
        cell=cell.name,
        hardware="sim",
        joint_names=tuple(cell.arms[side].joint_names),
        settings=settings_of(cell, side),
    )


def lines(count=3):
    """A header and some messages of the headset, 11 ms apart."""
    return header_line(header()) + "".join(
        message_line(0.011 * index, {"head": POSE, "left": POSE, "right": POSE})
        for index in range(count)
    )


def written(tmp_path, text, name="left.jsonl"):
    path = tmp_path / name
    path.write_text(text)
    return path


def update(head=POSE, wrist=POSE):
    message = protocol.HandUpdate()
    protocol.write_matrix(message.Head, head)
    protocol.write_matrix(message.right_hand.wristMatrix, wrist)
    return message


def test_what_devices_and_arm_sent_comes_back_exactly(tmp_path):
    random = np.random.default_rng(3)
    wrists = [random.normal(size=(4, 4)).astype(np.float32) for _ in range(20)]
    q = random.normal(size=7)
    recorder = HandsRecorder(tmp_path / "session", header(), origin_ns=10**9)
    recorder.start()
    for index, wrist in enumerate(wrists):
        recorder.take_message(update(wrist=wrist), 10**9 + index * 11_111_111)
    pressed = tuple(int(name == "zl") for name in BUTTONS)
    recorder.take_report(
        JoyConState(
            buttons=pressed, axes=(0.5, -1.0), battery=0.25, charging=True,
            received_ns=2 * 10**9, session=1, live=True,
        )
    )  # fmt: skip
    for _ in range(3):
        recorder.take_joints(START_NS + 5 * 10**8, q, 15 * 10**8 + 10**7)
    recorder.stop()

    found = read_session(tmp_path / "session")["left"]
    assert found.header == header() and not recorder.trouble and found.notes == ()
    for wrist, message in zip(wrists, found.headset, strict=True):
        assert np.array_equal(message.matrices["right"][:3], wrist[:3].astype(np.float64))
        assert message.matrices["left"] is None
    assert [m.t for m in found.headset] == pytest.approx(np.arange(20) / 90, abs=1e-5)
    (report,) = found.joycon
    assert report.buttons == {"zl"} and report.stick == (0.5, -1.0)
    assert (report.battery, report.charging, report.t) == (0.25, True, 1.0)
    assert np.allclose(found.joints, [q], atol=1e-7), "a repeated stamp is one posture"
    assert found.joint_times == pytest.approx([0.5])


@pytest.mark.parametrize("step", [-3600.0, -0.3, -0.05, 0.05, 0.3, 3600.0])
def test_joints_go_on_in_time_when_the_clock_of_their_stamps_is_set(tmp_path, step):
    recorder = HandsRecorder(tmp_path, header(), origin_ns=10**9)
    recorder.start()
    measured = 0.02 * np.arange(50) + 0.1
    for index, t in enumerate(measured):
        stamp = t + (step if index >= 25 else 0.0)
        received = t + 0.004 + 0.002 * (index % 3)
        joints = np.full(7, float(index))
        recorder.take_joints(START_NS + int(1e9 * stamp), joints, int(1e9 * (1.0 + received)))
    recorder.stop()
    found = read_hands(tmp_path / "left.jsonl")
    assert found.joints[:, 0].tolist() == list(range(50)), "none is lost"
    assert np.abs(found.joint_times - measured).max() < (0.06 if abs(step) < 0.1 else 0.01)


def test_a_pose_that_was_no_number_is_kept_as_such_and_not_as_a_number(tmp_path):
    recorder = HandsRecorder(tmp_path, header(), origin_ns=0)
    recorder.start()
    recorder.take_message(update(wrist=np.full((4, 4), np.nan)), 10**6)
    recorder.stop()
    (message,) = read_hands(tmp_path / "left.jsonl").headset
    assert message.matrices["right"] is None and message.matrices["head"] is not None


def test_a_file_that_was_cut_is_read_up_to_there_and_says_so(tmp_path):
    whole = lines(5)
    for cut in (3, 60, 90):
        found = read_hands(written(tmp_path, whole[:-cut]))
        assert 0 < len(found.headset) < 5
        (note,) = [note for note in found.notes if "cut" in note]
        assert f"cut after {found.duration:.1f} s" in note
    nuls = read_hands(written(tmp_path, whole + "\0" * 500))
    assert len(nuls.headset) == 5 and "cut" in nuls.notes[-1]


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ('{"t": 0.5, "head": [NaN, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0]}', "NaN"),
        ('{"t": 0.5, "head": [1e999, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0]}', "not finite"),
        ('{"t": 0.5, "head": [1, 0]}', "need 12 numbers"),
        ('{"t": 0.5, "q": [0.0, 1.0]}', "need 7 numbers"),
        ('{"t": -5.0, "head": null}', "time must go on"),
        ('{"t": 1e7, "head": null}', "time must go on"),
        ('{"t": true, "head": null}', "no number"),
        ('{"t": 0.5, "head": [1e39, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0]}', "1e+39; need 3.40282e+38"),
        (
            '{"t": 0.5, "buttons": [], "stick": [0, 9], "battery": 1, "charging": 0}',
            "stick is 9.0; need -1 to 1",
        ),
        (
            '{"t": 0.5, "buttons": [], "stick": [0, 0], "battery": -5, "charging": 0}',
            "is -5.0; need 0 to 1",
        ),
        (
            '{"t": 0.5, "buttons": [], "stick": [0, 0], "battery": 99, "charging": 0}',
            "is 99.0; need 0 to 1",
        ),
        (
            '{"t": 1e9, "buttons": [], "stick": [0, 0], "battery": 1, "charging": 0}',
            "by 3600 s at most",
        ),
        (
            '{"t": -5e8, "buttons": [], "stick": [0, 0], "battery": 1, "charging": 0}',
            "time must go on",
        ),
        ('{"t": 1e9, "q": [0, 0, 0, 0, 0, 0, 0]}', "by 3600 s at most"),
        ('{"t": 0.5, "buttons": ["launch"], "stick": [0, 0], "battery": 1}', "buttons"),
        ('{"t": 0.5, "buttons": [["l"]], "stick": [0, 0], "battery": 1}', "buttons"),
        ('{"t": 0.5}', "neither pose nor buttons nor joints"),
        ('{"head": null}', "'t'"),
        ("[" * 100_000, ""),
        ("rubbish", "no JSON"),
        ("", "no JSON"),
    ],
)
def test_a_line_that_cannot_be_is_refused_with_its_number(tmp_path, line, told):
    path = written(tmp_path, lines(2) + line + "\n" + lines(2).split("\n")[1] + "\n")
    with pytest.raises(EpisodeError, match="line 4") as refused:
        read_hands(path)
    assert told in str(refused.value)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "no line that ends"),
        ("time,x,y\n1,2,3\n", "no recording of hands"),
        ('{"format": "other", "version": 1}\n', "no recording of hands"),
        ('{"format": "ate-hands", "version": 2}\n', "version 2, this software reads 1: update"),
        ('{"format": "ate-hands", "version": 1}\n', "header cannot be read"),
        ('{"format": "ate-hands", "version": 1, "joint_names": 5}\n', "header cannot be read"),
        ('{"format": "ate-hands", "version": 1, "side": ["left"]}\n', "must be a str"),
        ('{"format": "ate-hands", "version": 1, "start_ns": 1.5}\n', "must be a int"),
    ],
)
def test_foreign_files_and_newer_versions_are_refused_by_name(tmp_path, text, told):
    path = written(tmp_path, text)
    with pytest.raises(EpisodeError, match=told) as refused:
        read_hands(path)
    assert str(path) in str(refused.value)
    path.write_bytes(b"\x89PNG\r\n\x1a\n\xff\xfe\n")
    with pytest.raises(EpisodeError, match="no recording of hands"):
        read_hands(path)


def test_a_session_is_one_file_for_each_operator(tmp_path):
    with pytest.raises(EpisodeError, match="holds no recording"):
        read_session(tmp_path)
    with pytest.raises(EpisodeError, match="cannot read"):
        read_session(tmp_path / "none.jsonl")
    written(tmp_path, lines())
    written(tmp_path, header_line(header("right")), "right.jsonl")
    assert set(read_session(tmp_path)) == {"left", "right"}
    written(tmp_path, lines(), "left-2.jsonl")
    with pytest.raises(EpisodeError, match=r"started twice; name one: left-2.jsonl, left.jsonl"):
        read_session(tmp_path)
    assert set(read_session(tmp_path / "left-2.jsonl")) == {"left"}


def test_a_file_is_believed_for_a_day_at_most(tmp_path):
    hours = "".join(message_line(3600.0 * hour, {"head": POSE}) for hour in range(14))
    with pytest.raises(EpisodeError, match=r"line 15: t is 46800\.0 s.* not beyond 43200 s"):
        read_hands(written(tmp_path, header_line(header()) + hours))


def test_recordings_that_were_not_made_together_are_no_session(tmp_path):
    right = replace(header("right"), start_ns=START_NS + 3601 * 10**9)
    written(tmp_path, lines())
    written(tmp_path, header_line(right), "right.jsonl")
    with pytest.raises(EpisodeError, match=f"{START_NS} and .*; need at most 3600 s between"):
        check_session(read_session(tmp_path))
    check_session(read_session(tmp_path / "right.jsonl"))


def test_a_process_that_starts_again_writes_a_file_of_its_own(tmp_path):
    for name in ("left.jsonl", "left-2.jsonl", "left-3.jsonl"):
        recorder = HandsRecorder(tmp_path, header(), origin_ns=0)
        recorder.start()
        recorder.stop()
        assert recorder.path == tmp_path / name and json.loads(recorder.path.read_text())


def test_a_folder_that_cannot_be_written_is_told_and_hands_go_on(tmp_path):
    (tmp_path / "file").write_text("")
    recorder = HandsRecorder(tmp_path / "file" / "session", header(), origin_ns=0)
    recorder.start()
    recorder.take_message(update(), 0)
    recorder.stop()
    assert "hands are not recorded" in recorder.trouble and "another folder" in recorder.trouble


def test_a_full_disk_is_told_and_hands_go_on(tmp_path, monkeypatch):
    recorder = HandsRecorder(tmp_path, header(), origin_ns=0)
    full = open("/dev/full", "w")  # noqa: SIM115 (the recorder closes it)
    monkeypatch.setattr(recorder, "_open_new", lambda: full)
    recorder.start()
    for index in range(3):
        recorder.take_message(update(), index)
    recorder.stop()
    assert os.strerror(errno.ENOSPC) in recorder.trouble


def test_joints_and_poses_are_lines_that_any_reader_of_json_takes():
    assert json.loads(joints_line(1.5, np.array([0.25, -1.0]))) == {"t": 1.5, "q": [0.25, -1.0]}
    line = json.loads(message_line(0.5, {"head": POSE, "left": np.full((4, 4), np.inf)}))
    assert line == {"t": 0.5, "head": POSE[:3].ravel().tolist(), "left": None}
