"""What a command kept for itself may be damaged since: it is refused by name, in one line."""

import json
from dataclasses import asdict

import pytest

from ate_core.errors import AteError
from ate_policy.models.flow_policy import FlowOptions
from ate_policy.models.foreign_files import INDEX
from ate_policy.models.foreign_weights import read_folder
from training.configs.study import StudyConfig
from training.configs.train_vae import TrainVaeConfig
from training.export.lerobot_set import MANIFEST, is_current
from training.report import ReportConfig, report
from training.reporting.figures import read_log
from training.studies.rollout import Trial
from training.studies.rows import Rows
from training.studies.stages import read_trials
from training.study import study
from training.train_vae import train_vae

SETTINGS = {"task": "reach", "demonstrations": "2", "vision": "False", "seed": "0"}


def resumed(folder):
    (folder / "last").mkdir()
    train_vae(TrainVaeConfig(stage=1, output=folder, motions=4, steps=2, resume=True))


def whole_run(folder):
    """The least that a report takes."""
    rollout = Trial(seed=0, success=True, score=1.0, duration=1.0, jerk=0.0, refused=0)
    whole = {
        "timings.json": {"config": SETTINGS, "stages": []},
        "evaluation.json": {"task": "reach", "policies": {"plain": [asdict(rollout)]}},
    }
    for name, document in whole.items():
        if not (folder / name).exists():
            (folder / name).write_text(json.dumps(document))
    return report(ReportConfig(run=folder))


def begun_from(folder):
    output = folder.parent / "other"
    tiny = FlowOptions(preset="tiny")
    study(
        StudyConfig(
            output=output,
            pretraining_from=folder,
            pretrained=("use_toaster",),
            tasks=("use_toaster",),
            policy=tiny,
        )
    )


READERS = {
    INDEX: lambda folder: read_folder(folder, "their site"),
    "run.json": resumed,
    "study.json": lambda folder: study(StudyConfig(output=folder)),
    "study.json ": begun_from,
    "settings.json": lambda folder: Rows(folder=folder).open({"seeds": 1}),
    "seed_003/none.json": lambda folder: Rows(folder=folder).read(3, "none"),
    "step_000500.json": lambda folder: read_trials(folder / "step_000500.json"),
    "log.jsonl": read_log,
    "timings.json": whole_run,
    "evaluation.json": whole_run,
    "timing_plain.json": whole_run,
    "nodes_plain.jsonl": whole_run,
    "demonstrations.jsonl": whole_run,
}


@pytest.mark.parametrize("name", READERS)
def test_a_record_that_is_none_is_refused_by_name(tmp_path, name, no_object):
    folder = tmp_path / "run"
    file = folder / name.strip()
    file.parent.mkdir(parents=True)
    file.write_bytes(no_object + b"\n")
    if (name, no_object) == ("step_000500.json", b"[]"):
        assert READERS[name](folder) == [], "no rollouts yet"
        return
    with pytest.raises(AteError) as caught:
        READERS[name](folder)
    assert str(file) in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "name", [name for name in READERS if name.endswith("n.jsonl") or name.startswith("timing_")]
)
def test_a_record_of_something_else_is_refused_by_name(tmp_path, name):
    (tmp_path / name).write_text('{"another": 1}\n')
    with pytest.raises(AteError, match=rf"{name} lacks .*: run the stage that wrote it again"):
        whole_run(tmp_path)


def test_a_set_with_a_damaged_list_of_parts_is_written_anew(tmp_path, no_object):
    file = tmp_path / MANIFEST
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(no_object)
    assert not is_current(tmp_path, [])
