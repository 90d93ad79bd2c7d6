"""Checkpoints are found by name, and listed with what they learned and how they did."""

import json
from pathlib import Path

import pytest

from ate_core.checkpoint_folders import RUNS, named_checkpoint
from ate_core.errors import CheckpointError, UsageError
from ate_policy.checkpoint import resolve_checkpoint
from training.models import ModelsConfig, find_models, models


def make(folder: Path, **training) -> Path:
    folder.mkdir(parents=True)
    config = {
        "kind": "flow",
        "layout_sha256": "ab" * 32,
        "model": {"cameras": ["cam_high"]},
        "training": {"task": "reach", "demonstration_count": 3, "step": 9, **training},
    }
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "model.safetensors").write_bytes(bytes(5))
    return folder


@pytest.fixture
def runs(tmp_path, monkeypatch) -> Path:
    """Two runs called guided, one of them with an evaluation, and a plain one."""
    root = tmp_path / "runs"
    for name in ("demo/guided", "demo/plain", "other/guided"):
        step = make(root / name / "step_000009", guidance={"name": name.split("/")[1]})
        (root / name / "last").symlink_to(step.name)
    trials = [{"success": one} for one in (True, True, False)]
    outcome = {
        "task": "reach",
        "checkpoints": {"guided": str((root / "demo/guided/step_000009").resolve())},
        "policies": {"guided": trials, "untrained": trials},
    }
    (root / "demo/rollouts.json").write_text(json.dumps(outcome))
    (root / "demo/other.json").write_text("[1]")
    monkeypatch.setenv(RUNS, str(root))
    monkeypatch.chdir(tmp_path)
    return root


def test_runs_are_listed_with_their_training_and_outcomes(runs, capsys):
    found = {one.name: one for one in find_models(runs)}
    assert list(found) == ["demo/guided", "demo/plain", "other/guided"]
    one = found["demo/guided"]
    assert (one.kind, one.task, one.demonstrations, one.step) == ("flow", "reach", 3, 9)
    assert (one.guidance, one.reads, one.size, one.trouble) == ("guided", "cam_high", 5, "")
    assert one.results == ("reach: 2/3 (67 %, 95 % interval 21-94 %) (demo/rollouts.json)",)
    assert found["other/guided"].results == ()
    assert models(ModelsConfig()) == 0
    assert "demo/rollouts.json" in capsys.readouterr().out


def test_a_damaged_checkpoint_is_named_and_the_others_are_listed(runs, capsys):
    (runs / "demo/plain/step_000009/config.json").write_text("{")
    assert models(ModelsConfig(json=True)) == 1
    told = {one["name"]: one["trouble"] for one in json.loads(capsys.readouterr().out)}
    assert "cannot be used" in told["demo/plain"] and told["other/guided"] == ""
    with pytest.raises(UsageError, match="is no folder: give those that hold run folders"):
        models(ModelsConfig(folders=(runs / "none",)))


def test_a_checkpoint_is_given_by_path_or_by_the_end_of_its_path(runs):
    assert named_checkpoint("plain") == runs / "demo/plain"
    assert named_checkpoint("other/guided") == runs / "other/guided"
    assert named_checkpoint("plain/step_000009") == runs / "demo/plain/step_000009"
    assert named_checkpoint(runs / "elsewhere") == runs / "elsewhere", "paths are left alone"
    assert named_checkpoint("runs/demo") == Path("runs/demo"), "what is there as a path is taken"


def test_a_name_that_is_none_or_that_several_have_is_refused_with_what_there_is(runs):
    with pytest.raises(CheckpointError, match="guided may be demo/guided, other/guided in"):
        named_checkpoint("guided")
    with pytest.raises(CheckpointError, match=r"gided is no checkpoint.*lists demo/guided, demo"):
        resolve_checkpoint(Path("gided"))
