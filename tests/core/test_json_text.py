"""JSON files from elsewhere: an object, or a refusal that names the file."""

import pytest

from ate_core.errors import UsageError
from ate_core.json_text import read_object, read_objects


@pytest.mark.parametrize("read", [read_object, read_objects])
def test_what_is_no_object_is_refused_by_name(tmp_path, read, no_object):
    file = tmp_path / "some.json"
    file.write_bytes(no_object + b"\n")
    with pytest.raises(UsageError, match=r"some\.json .*: write it again"):
        read(file, UsageError, "write it again")


def test_a_file_that_is_missing_or_a_folder_is_refused(tmp_path):
    for file in (tmp_path / "missing", tmp_path):
        with pytest.raises(UsageError, match=r"cannot be read .*: write it again"):
            read_object(file, UsageError, "write it again")


@pytest.mark.parametrize("end", ["", "\n", '\n{"b":', "\n\n[1, 2"])
def test_only_a_last_line_that_was_cut_is_left_out(tmp_path, end):
    file = tmp_path / "lines"
    file.write_text('{"a": 1}\n\n{"a": 2}' + end)
    assert read_objects(file, UsageError, "") == [{"a": 1}, {"a": 2}]


def test_an_empty_file_has_no_lines(tmp_path):
    (tmp_path / "lines").touch()
    assert read_objects(tmp_path / "lines", UsageError, "") == []
