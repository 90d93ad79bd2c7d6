"""`ate demo` from end to end, with as little of everything as shows that it holds together."""

import json
import os
import signal
import subprocess
import sys
import time

import psutil
import pytest

pytestmark = [pytest.mark.ros, pytest.mark.slow, pytest.mark.timeout(420)]

SMALL = (
    *("--demonstrations", "2", "--rollouts", "2", "--node-rollouts", "1", "--motions", "4"),
    *("--vae-steps", "20", "--finetune-steps", "40"),
)


def start_demo(tmp_path, cell_file, *words):
    return subprocess.Popen(
        [sys.executable, "-m", "ate_bringup.cli", "demo", "--cell", str(cell_file), *words],
        cwd=tmp_path,
        stdout=(tmp_path / "out").open("wb"),
        stderr=subprocess.STDOUT,
        start_new_session=True,
        env=os.environ | {"COLUMNS": "200"},
        preexec_fn=heed_ctrl_c,
    )


def heed_ctrl_c():
    """A shell's background jobs ignore Ctrl-C, and so would all that the tests start there."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def test_the_demo_ends_with_a_report(tmp_path, cell_file):
    process = start_demo(tmp_path, cell_file, *SMALL)
    try:
        assert process.wait(400) == 0, (tmp_path / "out").read_text()[-6000:]
    finally:
        stop(process)
    run = tmp_path / "runs" / "demo"
    page = (run / "report.html").read_text()
    for words in (
        "Success",
        "through the nodes",
        "policy node",
        "data:video/mp4",
        "plain",
        "generated",
    ):
        assert words in page
    assert page.count("data:image/jpeg") == 3
    assert "http://" not in page and "https://" not in page  # self-contained
    result = json.loads((run / "evaluation.json").read_text())
    assert {len(trials) for trials in result["policies"].values()} == {2}
    assert not any(trial["success"] for trial in result["policies"]["untrained"])


def test_ctrl_c_stops_the_demo_within_five_seconds(tmp_path, cell_file):
    process = start_demo(tmp_path, cell_file, *SMALL)
    try:
        deadline = time.monotonic() + 90
        while "recording episode_000000" not in (tmp_path / "out").read_text():
            assert process.poll() is None and time.monotonic() < deadline
            time.sleep(0.05)
        children = psutil.Process(process.pid).children(recursive=True)
        begin = time.monotonic()
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 130
        assert time.monotonic() - begin < 5.0
        assert not [child for child in children if child.is_running()]
    finally:
        stop(process)


def stop(process):
    """Leave nothing behind, whatever happened."""
    if process.poll() is None:
        left = psutil.Process(process.pid).children(recursive=True)
        process.kill()
        for child in left:
            child.kill()
        process.wait(10)
