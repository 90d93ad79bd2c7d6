"""What a run logs besides its own log file."""

import dataclasses
import errno
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from ate_core import locks
from ate_core.errors import UsageError
from training.loop.processes import make_accelerator
from training.loop.progress import Progress
from training.loop.run_folder import RunFolder


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
    steps: int = 4


@pytest.fixture(autouse=True)
def processes():
    """What both commands make first; accelerate's trackers ask it who is who."""
    make_accelerator()


def progress(run, **settings):
    return Progress(run, "a run", **{"step": 0, "steps": 4, "log_every": 2, **settings})


def test_wandb_gets_the_settings_and_metrics_of_a_run_that_it_can_go_on_with(
    tmp_path, monkeypatch
):
    started, logged, finished = [], [], []
    tracked = SimpleNamespace(
        log=lambda values, step: logged.append((step, values["loss"])),
        finish=lambda: finished.append(True),
    )
    wandb = SimpleNamespace(init=lambda **settings: started.append(settings) or tracked)
    monkeypatch.setitem(sys.modules, "wandb", wandb)
    run = RunFolder(tmp_path / "towel", {"steps": 4}, resume=False)
    with progress(run, log_to=("wandb",), step=2) as followed:
        followed.log(4, {"loss": 0.5})
    assert started == [
        {
            "project": None,  # of the user's settings
            "dir": run.path,
            "name": "towel",
            "id": started[0]["id"],
            "resume": "allow",
            "config": {"steps": 4},
        }
    ]
    assert logged == [(4, 0.5)] and finished == [True]


def test_wandb_tells_runs_of_one_name_apart_and_knows_a_resumed_one(tmp_path, monkeypatch):
    identities = []
    tracked = SimpleNamespace(log=lambda *_, **__: None, finish=lambda: None)
    wandb = SimpleNamespace(init=lambda **given: identities.append(given["id"]) or tracked)
    monkeypatch.setitem(sys.modules, "wandb", wandb)
    monkeypatch.chdir(tmp_path)
    for path in (tmp_path / "a" / "plain", tmp_path / "b" / "plain", Path("a") / "plain"):
        with progress(RunFolder(path, {"steps": 4}, resume=False), log_to=("wandb",)):
            pass
    first, second, again = identities
    assert first == again != second and first.startswith("plain-")


def test_a_log_whose_package_is_absent_is_refused_with_the_remedy(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "wandb", None)
    run = RunFolder(tmp_path / "run", {"steps": 4}, resume=False)
    with pytest.raises(UsageError, match=r"--log-to wandb needs .*pip install wandb"):
        progress(run, log_to=("wandb",)).__enter__()


def test_only_the_main_process_logs(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "wandb", None)
    run = RunFolder(tmp_path / "run", {"steps": 4}, resume=False, main=False)
    with progress(run, log_to=("wandb",)) as followed:
        followed.log(2, {"loss": 0.5})
    assert not run.path.exists()


def test_tensorboard_forgets_what_a_resumed_run_does_again(tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    run = RunFolder(tmp_path / "run", {"steps": 4}, resume=False)
    with progress(run, log_to=("tensorboard",)) as followed:
        for step in (1, 2, 3):
            followed.log(step, {"loss": float(step)})
    with progress(run, log_to=("tensorboard",), step=2) as followed:
        followed.log(3, {"loss": 30.0})
    events = EventAccumulator(str(run.path / "tensorboard")).Reload()
    assert [(entry.step, entry.value) for entry in events.Scalars("loss")][-1] == (3, 30.0)
    assert [entry.step for entry in events.Scalars("loss")].count(3) == 1


HOLDER = """
import sys
from pathlib import Path
from training.loop.run_folder import RunFolder

run = RunFolder(Path(sys.argv[1]), {"steps": 4}, resume=False)
print("held", flush=True)
sys.stdin.read()
"""


def test_a_folder_that_another_process_trains_in_is_refused_and_left_as_it_is(tmp_path):
    path = tmp_path / "run"
    command = [sys.executable, "-c", HOLDER, str(path)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, **pipes) as other:
        assert other.stdout.readline() == "held\n"
        before = {file.name: file.read_bytes() for file in path.iterdir()}
        for resume in (False, True):
            with pytest.raises(UsageError, match=r"another run writes to .*run: wait for it"):
                RunFolder(path, {"steps": 9}, resume=resume)
        assert before == {file.name: file.read_bytes() for file in path.iterdir()}
        other.kill()
    assert RunFolder(path, {"steps": 9}, resume=False).config == {"steps": 9}


def test_a_run_that_ended_and_one_that_was_refused_hold_their_folder_no_longer(tmp_path):
    path = tmp_path / "run"
    first = RunFolder(path, {"steps": 4}, resume=False)
    with progress(first):
        (path / "last").mkdir()
    with pytest.raises(UsageError, match="is not empty") as refused:
        RunFolder(path, {"steps": 4}, resume=False)
    assert refused.traceback
    assert RunFolder(path, {"steps": 4}, resume=True).path == path


def test_a_file_system_without_locks_keeps_nobody_off(tmp_path, monkeypatch):
    def unsupported(*_):
        raise OSError(errno.EBADF, "Bad file descriptor")

    monkeypatch.setattr(locks.fcntl, "flock", unsupported)
    run = RunFolder(tmp_path / "run", {"steps": 4}, resume=False)
    run.release()
