"""The trash: what is in it is told with its bytes, and deleted only on purpose."""

import os
import sys

import pytest

from ate_bringup.cli import main
from ate_core import files
from ate_core.episode_folders import EpisodeFolders
from ate_core.episode_trash import empty_trash, list_trash


@pytest.fixture
def bags(tmp_path):
    """Two episodes that count, and two discarded ones; the newest is discarded."""
    for name, size in (
        ("episode_000000", 10),
        ("episode_000001.discarded", 1500),
        ("episode_000002", 20),
        ("episode_000003.discarded", 2500),
    ):
        (tmp_path / name).mkdir()
        (tmp_path / name / "bag.mcap").write_bytes(bytes(size))
    return tmp_path


def names(folder):
    return sorted(path.name for path in folder.glob("episode_*"))


def test_the_trash_is_listed_with_names_and_bytes(bags, capsys):
    assert main(["episode", "trash", "list", "--bags", str(bags)]) == 0
    told = capsys.readouterr().out
    assert told.startswith(f"2 discarded episodes in {bags}: 4,000 bytes")
    assert "episode_000001.discarded  1,500 bytes" in told
    assert len(names(bags)) == 4


def test_the_trash_is_emptied_with_yes_and_what_counts_stays(bags, capsys):
    assert main(["episode", "trash", "empty", "--yes", "--bags", str(bags)]) == 0
    told = capsys.readouterr().out
    assert "episode_000003.discarded  2,500 bytes" in told and "2 deleted" in told
    assert names(bags) == ["episode_000000", "episode_000002"]


@pytest.mark.parametrize(
    ("is_terminal", "answer", "is_deleted"),
    [(False, "y", False), (True, "", False), (True, "n", False), (True, "y", True)],
)
def test_without_yes_somebody_at_a_terminal_has_to_agree(
    bags, capsys, monkeypatch, is_terminal, answer, is_deleted
):
    monkeypatch.setattr(sys.stdin, "isatty", lambda: is_terminal, raising=False)
    monkeypatch.setattr("builtins.input", lambda _: answer)
    code = main(["episode", "trash", "empty", "--bags", str(bags)])
    assert (code == 0) is is_deleted and (len(names(bags)) == 2) is is_deleted
    assert is_deleted or "nothing deleted; --yes" in capsys.readouterr().err


def test_the_number_of_a_deleted_episode_is_not_given_again(bags):
    folders = EpisodeFolders(bags)
    empty_trash(folders, list_trash(folders))
    assert folders.next_folder().name == "episode_000004"
    (bags / ".next_episode").write_text("damaged")
    assert folders.next_folder().name == "episode_000003"


def test_what_was_discarded_since_the_list_was_shown_stays(bags):
    folders = EpisodeFolders(bags)
    trash = list_trash(folders)
    (bags / "episode_000002").rename(bags / "episode_000002.discarded")
    (bags / "episode_000001.discarded").rename(bags / "episode_000001")
    assert empty_trash(folders, trash) == []
    assert names(bags) == ["episode_000000", "episode_000001", "episode_000002.discarded"]


def test_a_link_in_the_trash_costs_nothing_outside_of_it(bags, tmp_path):
    outside = tmp_path / "precious"
    outside.mkdir()
    (bags / "episode_000005.discarded").symlink_to(outside)
    folders = EpisodeFolders(bags)
    assert [one.name[:14] for one in list_trash(folders)] == ["episode_000001", "episode_000003"]
    empty_trash(folders, list_trash(folders))
    assert outside.is_dir()


def test_the_newest_stays_where_its_number_cannot_be_written_down(bags, capsys, monkeypatch):
    def refuse(*_):
        raise OSError(30, os.strerror(30))

    monkeypatch.setattr(files, "force_to_disk", refuse)
    assert main(["episode", "trash", "empty", "--yes", "--bags", str(bags)]) == 1
    assert "episode_000003.discarded stays (Read-only" in capsys.readouterr().err
    assert names(bags) == ["episode_000000", "episode_000002", "episode_000003.discarded"]


def test_one_that_cannot_be_deleted_is_named_and_the_others_go(bags, capsys, monkeypatch):
    import shutil

    real = shutil.rmtree

    def rmtree(path):
        if "000001" in str(path):
            raise PermissionError(13, os.strerror(13))
        real(path)

    monkeypatch.setattr(shutil, "rmtree", rmtree)
    assert main(["episode", "trash", "empty", "--yes", "--bags", str(bags)]) == 1
    caught = capsys.readouterr()
    assert "1 deleted" in caught.out
    assert "episode_000001.discarded stays (Permission denied)" in caught.err
    assert "episode_000003.discarded" not in names(bags)
