"""`ate episode`: what it finds on the disk, and what it asks of a recorder."""

import json

import pytest

from ate_bringup.cli import main
from ate_core.contract import load_cell
from ate_core.episode_outcome import read_outcome
from ate_recorder.recorder import EpisodeRecorder
from ate_recorder.recorder_config import RecorderConfig
from ate_recorder.sample import Sample

START = 1_700_000_000_000_000_000


@pytest.fixture
def bags(runtime_dir, tmp_path):
    """Three closed episodes: kept, labelled in words, discarded; then one that waits."""
    folder = tmp_path / "bags"
    cell = load_cell(None, "sim")
    config = RecorderConfig(output=folder, min_free_gb=0.0, task="pick_place", operator="ada")
    recorder = EpisodeRecorder(cell, config)
    for index, label in enumerate(("success", "spilled", None, "")):
        now = START + index * 10**10
        for spec in recorder.required():
            recorder.receive(Sample(spec, b"", now))
        recorder.start(now)
        recorder.receive(Sample(recorder.streams["/left/arm/joint_command"], b"", now))
        if label is None:
            recorder.discard(now + 2 * 10**9)
        else:
            recorder.stop(now + 2 * 10**9, label)
    return folder


def listed(bags, capsys, *words):
    assert main(["episode", "list", "--bags", str(bags), "--json", *words]) == 0
    return [(one["number"], one["outcome"]) for one in json.loads(capsys.readouterr().out)]


def test_the_list_shows_every_episode_with_what_became_of_it(bags, capsys):
    assert listed(bags, capsys) == [
        (0, "success"),
        (1, "spilled"),
        (2, "discarded"),
        (3, "pending"),
    ]
    assert listed(bags, capsys, "--outcome", "spilled") == [(1, "spilled")]
    assert main(["episode", "list", "--bags", str(bags)]) == 0
    text = capsys.readouterr().out
    assert text.startswith(f"4 episodes in {bags}")
    assert "     0  success         2.0 s  pick_place  ada" in text


def test_a_bag_that_was_cut_short_is_listed_with_the_remedy(bags, capsys):
    file = bags / "episode_000000" / "episode_000000_0.mcap"
    file.write_bytes(file.read_bytes()[:200])
    assert listed(bags, capsys)[0] == (0, "cut short")
    main(["episode", "list", "--bags", str(bags)])
    assert f"ate repair --bag {bags}" in capsys.readouterr().out


def test_a_closed_episode_is_labelled_anew_and_discarded_by_its_number(bags, capsys):
    words = ["--bags", str(bags), "--episode"]
    assert main(["episode", "label", "failure", *words, "0"]) == 0
    assert main(["episode", "discard", *words, "1"]) == 0
    assert listed(bags, capsys_clear(capsys))[:2] == [(0, "failure"), (1, "discarded")]
    assert read_outcome(bags / "episode_000000")["outcome"] == "failure"


def capsys_clear(capsys):
    capsys.readouterr()
    return capsys


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["label", "failure", "--episode", "9"], "there is no"),
        (["label", "pending", "--episode", "0"], "the recorder's own word"),
        (["list", "--bags", "nowhere"], "there is no folder nowhere"),
    ],
)
def test_a_wrong_word_is_refused_with_the_remedy(bags, capsys, words, told):
    given = [] if "--bags" in words else ["--bags", str(bags)]
    assert main(["episode", *words, *given]) == 1
    assert told in capsys.readouterr().err


@pytest.mark.parametrize("seconds", ["nan", "-1", "inf", "0"])
def test_a_recorder_is_looked_for_within_bounds(bags, capsys, seconds):
    verbs = ("start", "stop", "keep", "discard", "redo", "save-last", "label x", "list", "trash")
    for verb in verbs:
        assert main(["episode", *verb.split(), "--timeout", seconds]) == 1
        assert "need 0.5 to 60 s" in capsys.readouterr().err


def test_an_episode_that_is_open_is_not_judged_by_its_number(bags, capsys):
    (bags / "episode_000004").mkdir()
    assert main(["episode", "label", "x", "--episode", "4", "--bags", str(bags)]) == 1
    assert "is not closed: stop it" in capsys.readouterr().err


@pytest.mark.ros
@pytest.mark.parametrize(
    "words",
    [
        ["episode", "start", "--timeout", "0.5"],
        ["episode", "label", "spilled", "--timeout", "0.5"],
        ["episode", "list", "--timeout", "0.5"],
        ["status", "--seconds", "1"],
    ],
)
def test_without_a_cell_a_command_says_so_in_words(words, empty_domain, capsys):
    assert main(words) == 3
    told = capsys.readouterr().err
    assert "was heard within" in told and "ate launch ate_teleop" in told
