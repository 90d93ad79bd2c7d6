"""Edits of a set: done whole or not at all, and undone to the byte."""

import dataclasses
import json
import os
import re
import shlex
import signal
from pathlib import Path

import numpy as np
import pytest

from ate_bringup.cli import main
from ate_core.errors import EpisodeError
from training.audit.command import find_episodes
from training.convert_bags import ConvertConfig, convert_episode
from training.data import disk_room
from training.data.episode_file import Episode, list_episodes, read_episode, write_episode
from training.data.pretraining import read_recordings
from training.data.trajectory import read_trajectories
from training.episodes import cutting
from training.episodes.editor import editing
from training.episodes.episode_set import open_set
from training.foreign.importer import open_recordings

EDITS = {
    "delete": ("delete", 1, 2),
    "label": ("label", 0, 3, "--text", "failure"),
    "split": ("split", 2, "--at", 10, 20),
    "merge": ("merge", 0, 1),
}


def with_folder(folder, words):
    return [words[0], folder, *words[1:]]


@pytest.mark.parametrize("name", EDITS)
def test_every_edit_keeps_the_bytes_of_what_was_there_and_is_undone_to_the_byte(
    name, folder, ate, content
):
    before = content(folder)
    code, said = ate(*with_folder(folder, EDITS[name]))
    assert code == 0, said
    after = content(folder)
    assert after != before
    assert set(before.values()) <= set(after.values())  # set aside, never rewritten
    assert ate("undo", folder)[0] == 0
    back = {key: value for key, value in content(folder).items() if "_5" not in key}
    assert back == before
    assert [path.name for path in list_episodes(folder)] == sorted(before)


def test_a_deleted_episode_is_read_by_nobody_until_it_is_restored(folder, ate):
    ate("delete", folder, 1)
    assert len(read_trajectories(folder)) == 3
    assert "discarded" in ate("list", folder)[1]
    assert ate("restore", folder, 1)[0] == 0
    assert len(read_trajectories(folder)) == 4


def test_a_label_overrides_what_the_episode_says_for_every_reader(folder, ate):
    ate("label", folder, 0, "--text", "failure")
    assert read_episode(folder / "episode_000000.hdf5").outcome == "failure"
    assert len(read_trajectories(folder)) == 3
    rows = json.loads(ate("list", folder, "--json")[1])
    assert [row["outcome"] for row in rows] == ["failure", "success", "success", "success"]


def test_the_parts_of_a_split_episode_are_its_rows_and_name_their_source(folder, ate):
    whole = read_episode(folder / "episode_000002.hdf5")
    pictures = list(whole.images["cam_high"])
    ate("split", folder, 2, "--at", 10, 25)
    parts = [read_episode(folder / f"episode_50000{index}.hdf5") for index in range(3)]
    assert [len(part) for part in parts] == [10, 15, 5]
    for field in cutting.PER_TICK:
        joined = np.concatenate([getattr(part, field) for part in parts])
        np.testing.assert_array_equal(joined, getattr(whole, field))
    assert [image for part in parts for image in part.images["cam_high"]] == pictures
    assert parts[1].source == "episode_000002.hdf5[10:25] of episode_000002"
    line = json.loads((folder / "edits.jsonl").read_text().splitlines()[0])
    (source,) = line["sources"]
    assert source == ["episode_000002.hdf5", parts[0].source_sha256]


def test_merging_the_parts_of_a_split_gives_the_whole_again(folder, ate):
    whole = read_episode(folder / "episode_000002.hdf5")
    pictures = list(whole.images["cam_high"])
    ate("split", folder, 2, "--at", 7)
    code, said = ate("merge", folder, 500000, 500001)
    assert code == 0, said
    merged = read_episode(folder / "episode_500002.hdf5")
    for field in cutting.PER_TICK:
        np.testing.assert_array_equal(getattr(merged, field), getattr(whole, field))
    assert list(merged.images["cam_high"]) == pictures


def test_every_field_of_an_episode_is_cut_compared_or_set_anew():
    known = {*cutting.PER_TICK, *cutting.PER_TICK_BY_KEY, *cutting.SAME, *cutting.MADE_ANEW}
    assert set(Episode.__dataclass_fields__) == known


def test_numbers_are_never_given_twice(folder, ate):
    ate("split", folder, 2, "--at", 7)
    ate("undo", folder)
    ate("split", folder, 2, "--at", 9)
    assert read_episode(folder / "episode_500002.hdf5").timestamps_ns.size == 9


def test_edits_are_undone_one_after_the_other_from_the_newest(folder, ate, content):
    before = content(folder)
    ate("label", folder, 0, "--text", "failure")
    ate("label", folder, 0, "--text", "knocked over")
    ate("delete", folder, 0)
    for _ in range(3):
        assert ate("undo", folder)[0] == 0
    assert content(folder) == before
    code, said = ate("undo", folder)
    assert code == 1
    assert "no edit to undo" in said
    assert ate("log", folder)[1].count("(undone)") == 3


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("label", 9, "--text", "failure"), "has no episode 9 (it has 4 from 0 to 3)"),
        (("label", 1, "--text", "pending"), "recorder's own word"),
        (("label", 1, "--text", ""), "is not one line"),
        (("delete", 1, 9), "has no episode 9"),
        (("delete", 1, 1), "named twice"),
        (("delete",), ""),
        (("restore", 1), "is not set aside"),
        (("split", 1, "--at", 30), "give a tick from 1 to 29"),
        (("split", 1, "--at", 0), "cannot be split at 0"),
        (("split", 1, "--at", 9, 5), "does not ascend"),
        (("split", 9, "--at", 5), "has no episode 9"),
        (("merge", 0), "two episodes or more"),
        (("merge", 0, 2), "only parts that follow each other"),
        (("merge", 1, 0), "only parts that follow each other"),
        (("show", 9), "has no episode 9"),
    ],
)
def test_a_wrong_edit_is_refused_with_its_reason_and_changes_nothing(
    words, told, folder, ate, content
):
    before = content(folder)
    try:
        code, said = ate(*with_folder(folder, words))
    except SystemExit as leaving:  # the parser refuses what no edit could mean
        code, said = leaving.code, ""
    assert code != 0
    assert told in said.replace("\n", " ")
    assert content(folder) == before


def test_episodes_of_unlike_contracts_are_not_merged(folder, ate, make, cell):
    other = dataclasses.replace(cell, name="another cell")
    write_episode(folder / "episode_000001.hdf5", make(1, first_tick=30, cell=other))
    code, said = ate("merge", folder, 0, 1)
    assert code == 1
    assert "unlike contracts" in said


@pytest.mark.parametrize("failed", [500000, 500001])
def test_parts_that_ended_otherwise_are_merged_under_one_label_only(folder, ate, content, failed):
    ate("split", folder, 2, "--at", 10)
    ate("label", folder, failed, "--text", "failure")
    before = content(folder)
    code, said = ate("merge", folder, 500000, 500001)
    assert code == 1 and content(folder) == before
    assert "give all of them the label of the whole first" in said.replace("\n", " ")
    ate("label", folder, 500000, 500001, "--text", "failure")
    assert ate("merge", folder, 500000, 500001)[0] == 0
    assert read_episode(folder / "episode_500002.hdf5").outcome == "failure"


def test_two_editors_at_once_are_one_editor_and_one_refusal(folder, ate):
    with editing(open_set(folder)):
        code, said = ate("delete", folder, 1)
    assert code == 1
    assert "is being changed by another edit" in said
    assert ate("delete", folder, 1)[0] == 0


def killed_at(place, folder, words):
    """Run the command in a process of its own that dies before one of its renames."""
    process = os.fork()
    if process == 0:
        real, left = Path.rename, [place]

        def rename(path, target):
            if path.parent == folder and not left[0]:
                os.kill(os.getpid(), signal.SIGKILL)
            left[0] -= path.parent == folder
            return real(path, target)

        Path.rename = rename
        main(["episodes", *map(str, words)])
        os._exit(0)
    return os.WTERMSIG(os.waitpid(process, 0)[1])


@pytest.mark.parametrize("place", [0, 1])
def test_what_a_killed_edit_left_is_refused_by_training_and_taken_back_by_the_next_command(
    place, folder, ate, content, cell
):
    before = content(folder)
    assert killed_at(place, folder, ["split", folder, 2, "--at", 10]) == signal.SIGKILL
    assert content(folder) != before
    for read in (
        list_episodes,
        find_episodes,
        open_recordings,
        lambda folder: read_recordings(folder, cell),
    ):
        with pytest.raises(EpisodeError, match="is not finished"):
            read(folder)
    _, said = ate("list", folder)
    assert "cut short and is taken back" in said
    assert content(folder) == before
    assert len(list_episodes(folder)) == 4
    assert ate("split", folder, 2, "--at", 10)[0] == 0


def test_a_journal_whose_last_line_was_cut_goes_on(folder, ate):
    ate("delete", folder, 1)
    journal = folder / "edits.jsonl"
    journal.write_bytes(journal.read_bytes() + b'{"edit": 2, "wha')
    assert len(list_episodes(folder)) == 3
    assert ate("delete", folder, 2)[0] == 0
    assert ate("undo", folder)[0] == 0
    assert ate("undo", folder)[0] == 0
    assert len(list_episodes(folder)) == 4


def test_a_full_disk_leaves_the_set_as_it_was(folder, ate, content, monkeypatch):
    before = content(folder)

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("training.data.episode_file._write_images", full)
    code, said = ate("split", folder, 2, "--at", 10)
    assert code == 1
    assert "No space left on device" in said
    assert content(folder) == before
    monkeypatch.undo()
    assert ate("split", folder, 2, "--at", 10)[0] == 0


def test_new_episodes_that_would_fill_the_disk_are_refused_before_they_are_written(
    folder, ate, content, monkeypatch
):
    before = content(folder)
    monkeypatch.setattr(disk_room, "free_room", lambda _: 8192)
    code, said = ate("split", folder, 2, "--at", 10)
    assert code == 1
    assert "the new episodes need about" in said and "0.0 MB free: free space there" in said
    assert content(folder) == before
    assert not (folder / "edits.jsonl").exists()


def test_a_folder_that_cannot_be_written_to_is_listed_but_not_edited(folder, ate, monkeypatch):
    real = os.open

    def read_only(path, flags, *rest):
        if flags & (os.O_WRONLY | os.O_RDWR):
            raise OSError(30, "Read-only file system", str(path))
        return real(path, flags, *rest)

    monkeypatch.setattr(os, "open", read_only)
    assert ate("list", folder)[0] == 0
    code, said = ate("delete", folder, 1)
    assert code == 1
    assert "takes no edit (Read-only file system)" in said


def test_the_commands_of_the_page_do_what_it_says(folder, ate):
    page = (Path(__file__).parents[2] / "docs/data.md").read_text()
    section = page.split("## Edit")[1].split("\n## ")[0]
    lines = re.search(r"```bash\n(.*?)```", section, re.DOTALL)[1].splitlines()
    for line in lines:
        words = shlex.split(line.replace("runs/episodes", str(folder)), comments=True)
        assert words[:2] == ["ate", "episodes"]
        code, said = ate(*words[2:])
        assert code == 0, f"{line}: {said}"
    assert [path.name[8:14] for path in list_episodes(folder)] == [
        *("000000", "000001", "000003", "500000", "500001", "500002")
    ]


def test_an_episode_that_was_set_aside_is_not_converted_again(folder, ate):
    ate("delete", folder, 1)
    config = ConvertConfig(bags=folder, output=folder)
    assert convert_episode(folder / "episode_000001", config).result == "set aside"
