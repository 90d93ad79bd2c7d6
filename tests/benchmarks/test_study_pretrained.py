import dataclasses
import json
from pathlib import Path

import pytest

from ate_core.errors import UsageError
from benchmarks import study_pretrained as program
from benchmarks.study_pretrained import (
    FLOW,
    GUIDED,
    PROTOCOL,
    SCRATCH,
    TASK,
    BenchmarkConfig,
    main,
)
from training import study as jobs
from training.configs.study import StudyConfig
from training.studies.rollout import Trial

PAGE = Path(__file__).parents[2] / "docs" / "study_pretrained.md"
SUCCESS = {"none": 50, SCRATCH: 10, "paper": 60}
"""Of a hundred rollouts, in the place of training."""


class Fake:
    """Stands in for all that takes time; remembers what ran, and may be killed."""

    def __init__(self, monkeypatch):
        self.ran, self.digests, self.dies_at = [], {"policy": "a1", "prior": "c3"}, None
        self.cosines = {"": 0.5, "untrained": 0.3}
        for name in ("record_demonstrations", "train_prior", "train_aligned", "pretrain_policy"):
            monkeypatch.setattr(jobs, name, lambda *_: None)
        monkeypatch.setattr(program, "pretrain_policy", lambda *_: Path("policy"))
        monkeypatch.setattr(program, "train_prior", lambda _: Path("prior"))
        monkeypatch.setattr(program, "digest_of", lambda run: self.digests[run.name])
        monkeypatch.setattr(program, "PROTOCOL", dataclasses.replace(PROTOCOL, seeds=3))
        monkeypatch.setattr(program, "train_aligned", lambda _study, _task, _seed, vae: vae)
        monkeypatch.setattr(program, "alignment_of", lambda vae, *_: [self.cosines[vae]] * 4)
        monkeypatch.setattr(program, "train_policy", self.train)
        monkeypatch.setattr(program, "roll_out_checkpoints", lambda *_: None)
        monkeypatch.setattr(program, "rollouts_file", lambda *arguments: arguments)
        monkeypatch.setattr(program, "read_trials", self.trials)

    def train(self, study, task, arm, seed):
        if len(self.ran) == self.dies_at:
            self.dies_at = None
            raise KeyboardInterrupt
        self.ran.append((seed, arm.name))

    def trials(self, file):
        study, _, arm, seed, step = file
        count = study.rolled_out[step]
        wins = round(SUCCESS.get(arm.name, 50) * count / 100) + seed % 2
        return [
            Trial(seed=i, success=i < wins, score=0.5, duration=1.0, jerk=100.0, refused=0)
            for i in range(count)
        ]


@pytest.fixture
def fake(monkeypatch):
    return Fake(monkeypatch)


def config(folder, **changes):
    return BenchmarkConfig(**{"output": folder / "run", **changes})


def rows_of(folder):
    return {
        str(file.relative_to(folder)): file.read_text()
        for file in folder.rglob("*")
        if file.is_file() and "made" in file.read_text()
    }


def test_gates_are_written_before_a_guided_policy_is_trained(fake, tmp_path, monkeypatch):
    seen = []
    original = fake.train

    def train(study, task, arm, seed):
        if arm.name in GUIDED:
            seen.append((study.output / "rows" / "gates.json").is_file())
        return original(study, task, arm, seed)

    monkeypatch.setattr(program, "train_policy", train)
    assert main(config(tmp_path)) == 0
    assert seen == [True] * (3 * len(GUIDED))
    report = (tmp_path / "run" / "rows" / "study.md").read_text()
    assert report.startswith("Seeds 0, 1, 2, 100 paired starts each.")
    assert "- passed  worth of the pre-training: +40.0 points" in report
    assert "`paper` helps here: +10.0 points (+10.0 to +10.0)" in report


def test_where_a_gate_fails_nothing_is_guided_unless_that_is_said(fake, tmp_path):
    fake.cosines["untrained"] = 0.6
    assert main(config(tmp_path)) == 1
    assert not {arm for _, arm in fake.ran} & set(GUIDED)
    assert main(config(tmp_path, despite_gates=True)) == 0
    assert "- FAILED  alignment" in (tmp_path / "run" / "rows" / "study.md").read_text()


def test_a_killed_study_goes_on_and_repeats_nothing(fake, tmp_path):
    fake.dies_at = 9
    with pytest.raises(KeyboardInterrupt):
        main(config(tmp_path))
    assert main(config(tmp_path)) == 0
    assert len(fake.ran) == len(set(fake.ran)) == 3 * len(PROTOCOL.arms)
    whole = rows_of(tmp_path / "run" / "rows")
    assert len(whole) == 3 * (len(PROTOCOL.arms) + 1)
    assert all(text.count("\n") == 1 for text in whole.values())


def test_two_machines_fill_one_folder_of_rows_and_nothing_is_told_before_all_are_there(
    fake, tmp_path, capsys
):
    rows = tmp_path / "rows"
    one = config(tmp_path / "one", rows=rows, seeds=2)
    two = config(tmp_path / "two", rows=rows, first_seed=2)
    assert main(one) == 0
    assert "plain runs of 2 of 3 seeds are there, those of 2 are not" in capsys.readouterr().out
    assert not (rows / "gates.json").exists() and not {arm for _, arm in fake.ran} & {*GUIDED}
    assert main(two) == 0
    assert json.loads((rows / "gates.json").read_text())["seeds"] == [0, 1, 2]
    assert {seed for seed, arm in fake.ran if arm in GUIDED} == {2}
    out = capsys.readouterr().out
    assert "all arms of 1 of 3 seeds are there, those of 0, 1 are not" in out
    assert "points" not in out.split("all arms")[1] and not (rows / "study.md").exists()
    assert main(one) == 0
    assert (rows / "study.md").read_text().startswith("Seeds 0, 1, 2,")


def test_a_seed_that_broke_is_left_out_for_all_arms_and_named(fake, tmp_path):
    assert main(config(tmp_path, broken=(1,))) == 0
    assert {seed for seed, _ in fake.ran} == {0, 2}
    assert (tmp_path / "run" / "rows" / "study.md").read_text().startswith("Seeds 0, 2,")


@pytest.mark.parametrize(("first", "seeds"), [(0, 0), (3, None), (2, 2), (-1, 2), (0, 4)])
def test_seeds_that_are_not_of_the_page_are_refused(fake, tmp_path, first, seeds):
    with pytest.raises(UsageError, match="are asked for, those of the page are 0 to 2"):
        _ = config(tmp_path, first_seed=first, seeds=seeds).study


def test_rows_of_another_start_or_other_settings_are_refused(fake, tmp_path, monkeypatch):
    rows = tmp_path / "rows"
    assert main(config(tmp_path / "one", rows=rows, seeds=1)) == 0
    fake.digests["policy"] = "b2"
    with pytest.raises(UsageError, match="started from the pre-trained policy a1, this folder's"):
        main(config(tmp_path / "two", rows=rows, seeds=1, first_seed=1))
    fake.digests |= {"policy": "a1", "prior": "d4"}
    with pytest.raises(UsageError, match=r"stage 1 of the action VAE c3, .* the folder `vae`"):
        main(config(tmp_path / "three", rows=rows, seeds=1, first_seed=1))
    fake.digests["prior"] = "c3"
    longer = dataclasses.replace(program.PROTOCOL, steps=700)
    monkeypatch.setattr(program, "PROTOCOL", longer)
    with pytest.raises(UsageError, match=r"rows of other settings: steps: 700 \(was 600\)"):
        main(config(tmp_path / "four", rows=rows, seeds=1))


def test_a_torn_row_is_named(fake, tmp_path):
    assert main(config(tmp_path)) == 0
    torn = tmp_path / "run" / "rows" / "seed_001" / "paper.json"
    torn.write_text(torn.read_text()[:40])
    with pytest.raises(program.AteError, match=r"paper.json cannot be read .*: remove it"):
        main(config(tmp_path))


def test_the_protocol_is_the_one_of_the_page():
    page = PAGE.read_text()
    for arm in PROTOCOL.arms:
        assert f"`{arm.name}`" in page
    told = json.loads(page.split("```json")[1].split("```")[0])
    record = StudyConfig.record(PROTOCOL)
    assert told == {key: record[key] for key in told}
    assert record["tasks"] == [TASK] and len(told) >= 12
    changed = json.loads(page.split("```json")[2].split("```")[0])
    flow = StudyConfig.record(FLOW)
    assert changed == {key: flow[key] for key in flow if flow[key] != record[key]}
    assert BenchmarkConfig(policy="flow").study.policy == FLOW.policy
