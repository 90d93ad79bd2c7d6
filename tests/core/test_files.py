"""Files that are replaced as a whole."""

import errno
import os
import subprocess
import sys

import pytest

from ate_core.disk_refusals import is_by_disk, is_full, remedy
from ate_core.files import replace_folder, replace_text, replacing


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_a_replaced_file_holds_the_new_text_and_nothing_lies_beside_it(tmp_path):
    file = tmp_path / "statistics.json"
    replace_text(file, "old")
    replace_text(file, "neu, mit Umlaut: ü")
    assert file.read_text(encoding="utf-8") == "neu, mit Umlaut: ü"
    assert names(tmp_path) == ["statistics.json"]


@pytest.mark.parametrize("error", [KeyboardInterrupt(), OSError(28, "No space left on device")])
def test_an_interrupted_writer_leaves_the_old_file_and_no_litter(tmp_path, error):
    file = tmp_path / "statistics.json"
    replace_text(file, "old")

    def write_half():
        with replacing(file) as temporary:
            temporary.write_text("half")
            raise error

    with pytest.raises(type(error)):
        write_half()
    assert file.read_text() == "old"
    assert names(tmp_path) == ["statistics.json"]


def test_a_disk_that_refuses_to_store_leaves_the_old_file(tmp_path, monkeypatch):
    file = tmp_path / "statistics.json"
    replace_text(file, "old")
    monkeypatch.setattr(os, "fsync", lambda _: (_ for _ in ()).throw(OSError(28, "No space")))
    with pytest.raises(OSError, match="No space"):
        replace_text(file, "new")
    assert file.read_text() == "old"
    assert names(tmp_path) == ["statistics.json"]


def test_two_writers_of_one_name_do_not_mix(tmp_path):
    file = tmp_path / "statistics.json"
    with replacing(file) as outer:
        outer.write_text("outer " * 1000)
        replace_text(file, "inner")
        assert file.read_text() == "inner"
    assert file.read_text() == "outer " * 1000
    assert names(tmp_path) == ["statistics.json"]


def test_what_a_killed_writer_left_is_removed_by_the_next_one_and_only_that(tmp_path):
    file = tmp_path / "statistics.json"
    code = (
        "import os, pathlib, sys; from ate_core.files import replacing\n"
        "with replacing(pathlib.Path(sys.argv[1])) as new:\n"
        "    new.write_text('half'); os.kill(os.getpid(), 9)"
    )
    subprocess.run([sys.executable, "-c", code, str(file)], check=False)
    (left,) = names(tmp_path)
    (tmp_path / "statistics.json.tmp").write_text("somebody's own")
    with replacing(tmp_path / "other") as alive:
        alive.write_text("being written")
        replace_text(file, "whole")
        assert alive.exists()
    assert left not in names(tmp_path)
    assert names(tmp_path) == ["other", "statistics.json", "statistics.json.tmp"]


def test_a_new_file_has_the_rights_of_any_new_file(tmp_path):
    (tmp_path / "ordinary").write_text("")
    replace_text(tmp_path / "replaced", "")
    assert (tmp_path / "replaced").stat().st_mode == (tmp_path / "ordinary").stat().st_mode


def refusing(number):
    """A call of the system that a disk refuses."""

    def call(*words, **_):
        raise OSError(number, os.strerror(number))

    return call


NUMBERS = [errno.EIO, errno.EROFS, errno.EDQUOT, errno.ENOSPC]


@pytest.mark.parametrize("number", NUMBERS, ids=errno.errorcode.get)
def test_a_refusal_names_the_file_and_what_helps(tmp_path, monkeypatch, number):
    file = tmp_path / "statistics.json"
    monkeypatch.setattr(os, "fsync", refusing(number))
    with pytest.raises(OSError, match=os.strerror(number)) as caught:
        replace_text(file, "new")
    assert (caught.value.errno, caught.value.filename) == (number, str(file))
    assert is_by_disk(caught.value) and names(tmp_path) == []
    assert is_full(caught.value) == ("free space" in remedy(caught.value))


def test_a_missing_path_is_no_fault_of_a_disk():
    error = FileNotFoundError(errno.ENOENT, "No such file or directory", "/nowhere")
    assert not is_by_disk(error) and "check the path" in remedy(error)


def a_folder(path, text):
    path.mkdir()
    (path / "file").write_text(text)
    return path


def test_a_folder_takes_the_place_of_an_older_one(tmp_path):
    for text in ("old", "new"):
        replace_folder(a_folder(tmp_path / ".working", text), tmp_path / "out")
        assert names(tmp_path) == ["out"] and (tmp_path / "out/file").read_text() == text


@pytest.mark.parametrize("number", NUMBERS, ids=errno.errorcode.get)
@pytest.mark.parametrize("refused", ["fsync", "first rename", "second rename"])
def test_a_folder_that_is_refused_leaves_the_older_one_at_its_place(
    tmp_path, monkeypatch, number, refused
):
    out, working = a_folder(tmp_path / "out", "old"), a_folder(tmp_path / ".working", "new")
    real, moved = type(out).rename, []

    def rename(path, target):
        moved.append(path)
        if len(moved) == ("first rename", "second rename").index(refused) + 1:
            refusing(number)()
        return real(path, target)

    with monkeypatch.context() as disk:
        if refused == "fsync":
            disk.setattr(os, "fsync", refusing(number))
        else:
            disk.setattr(type(out), "rename", rename)
        with pytest.raises(OSError, match=os.strerror(number)):
            replace_folder(working, out)
    assert (out / "file").read_text() == "old" and names(tmp_path) == [".working", "out"]
