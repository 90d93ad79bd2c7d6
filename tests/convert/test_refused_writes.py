"""Commands on disks that refuse, at the level of the system's calls."""

import errno
import shutil

import pytest

from benchmarks import refused_writes
from benchmarks.refused_writes import RefusedConfig, main

needs_compiler = pytest.mark.skipif(shutil.which("cc") is None, reason="needs a C compiler")


@pytest.fixture(scope="module")
def bags(studio, tmp_path_factory):
    folder = tmp_path_factory.mktemp("refused") / "bags"
    for seed in (1, 2):
        studio.record(folder, studio.messages(seconds=1.3, seed=seed))
    return folder


@needs_compiler
@pytest.mark.slow
def test_whatever_a_disk_refuses_is_told_and_costs_nothing(bags, monkeypatch, capfd):
    words = ["--bags", str(bags), "--only", "convert", "repair", "--after", "0", "2"]
    monkeypatch.setattr("sys.argv", ["refused_writes", *words])
    code = main(RefusedConfig(bags=bags, only=("convert", "repair"), after=(0, 2)))
    told = capfd.readouterr().out
    assert code == 0 and "0 wrong" in told, told


def test_each_errno_is_tried_at_the_first_call_and_one_at_later_ones():
    moments = list(refused_writes._moments((0, 2)))
    assert moments[-1] == (errno.EIO, 2) and len(moments) == len(refused_writes.NUMBERS) + 1
