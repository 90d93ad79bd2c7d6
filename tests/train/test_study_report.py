"""What a study says about the trials that lie in its folder."""

import dataclasses
import json

import pytest

from ate_core.errors import UsageError
from training.configs.study import StudyConfig
from training.studies.report import fill_document, read_outcomes, tables
from training.studies.rollout import Trial
from training.studies.stages import rollouts_file

TWO_RUNS = {
    "tasks": ("pick_place",),
    "guidance": ("none", "toward:0.5"),
    "seeds": 2,
    "steps": 4,
    "checkpoints": (),
}


def write_trials(config, task, arm, seed, successes):
    file = rollouts_file(config, task, arm, seed, config.steps)
    file.parent.mkdir(parents=True)
    trials = [
        Trial(seed=seed * 100 + i, success=s, score=float(s), duration=1.0, jerk=8.0, refused=0)
        for i, s in enumerate(successes)
    ]
    file.write_text(json.dumps([dataclasses.asdict(trial) for trial in trials]))


def test_an_unfinished_study_reports_the_pairs_that_are_there(tmp_path):
    config = StudyConfig(output=tmp_path, **TWO_RUNS)
    plain, toward = config.arms
    write_trials(config, "pick_place", plain, 0, [True, False])
    write_trials(config, "pick_place", toward, 0, [True])
    write_trials(config, "pick_place", plain, 1, [True, False])
    outcomes = read_outcomes(config)
    lengths = {
        arm: [len(run) for run in steps[4]] for arm, steps in outcomes["pick_place"].items()
    }
    assert lengths == {"none": [1], "toward:0.5": [1]}


def test_the_tables_say_what_was_found(tmp_path):
    config = StudyConfig(output=tmp_path, **TWO_RUNS)
    plain, toward = config.arms
    for seed in (0, 1):
        write_trials(config, "pick_place", plain, seed, [True, False])
        write_trials(config, "pick_place", toward, seed, [True, True])
    lines = tables(read_outcomes(config))
    assert lines[2] == "| pick_place | 4 | plain | 2/4 = 50 % (15–85) | 50, 50 | 0.50 | 8 | 0.0 |"
    assert lines[-1].startswith("| pick_place | 4 | toward:0.5 | +50.0 | +50, +50 | ")
    assert lines[-1].endswith(
        "| none | 0.5 | +0.50 (none) | 1.00 (none) |"  # two runs are too few for intervals
    )


def test_tasks_are_pooled_run_by_run(tmp_path):
    tasks = ("pick_place", "handover")
    config = StudyConfig(output=tmp_path, **{**TWO_RUNS, "tasks": tasks, "seeds": 1})
    plain, toward = config.arms
    write_trials(config, "pick_place", plain, 0, [False, False, True])
    write_trials(config, "pick_place", toward, 0, [True, False, False])
    write_trials(config, "handover", plain, 0, [False, False])
    write_trials(config, "handover", toward, 0, [True, True])
    lines = tables(read_outcomes(config))
    # two starts of each
    assert lines[-1].startswith("| all | 4 | toward:0.5 | +75.0 | +50, +100 | ")


def test_only_the_marked_part_of_a_page_changes(tmp_path):
    page, begin, end = tmp_path / "page.md", "<!-- camera: begin -->", "<!-- camera: end -->"
    page.write_text(f"before\n\n{begin}\nold\n{end}\n\nafter\n")
    fill_document(page, "camera", ["| new |"])
    assert page.read_text() == f"before\n\n{begin}\n\n| new |\n\n{end}\n\nafter\n"
    with pytest.raises(UsageError, match="needs one line '<!-- study: begin -->'"):
        fill_document(page, "study", [])
