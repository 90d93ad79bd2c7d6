"""The report of a run, from the files that its stages left."""

import dataclasses
import json

from training.configs.train_vae import TrainVaeConfig
from training.report import ReportConfig, report
from training.studies.rollout import Trial
from training.train_vae import train_vae

VAE = {"steps": 2, "batch": 8, "latent": 8, "width": 16, "log_every": 1}


def test_a_run_with_its_vaes_shows_losses_latent_space_and_cameras(tmp_path, write_demonstrations):
    run = tmp_path / "run"
    episodes = write_demonstrations(run / "episodes", count=2, images=True)
    first, second = run / "vae_pretraining", run / "vae_adaptation"
    train_vae(TrainVaeConfig(stage=1, output=first, recordings=(episodes,), motions=0, **VAE))
    train_vae(TrainVaeConfig(stage=2, output=second, episodes=episodes, prior=first, **VAE))
    settings = {"task": "reach", "demonstrations": "2", "vision": "True", "seed": "0"}
    (run / "timings.json").write_text(json.dumps({"config": settings, "stages": []}))
    assert report(ReportConfig(run=run)) == 0
    page = (run / "report.html").read_text()
    for title in ("losses of the action VAEs", "latent space", "cam_high", "cam_left_wrist"):
        assert f"alt='{title}'" in page
    assert "recordings episodes" in page  # where the first VAE's motion came from
    assert "This run was not evaluated." in page


def test_refused_chunks_are_told_by_kind_and_ticks_without_an_observation_apart(tmp_path):
    run = tmp_path / "run"
    run.mkdir()
    settings = {"task": "reach", "demonstrations": "2", "vision": "False", "seed": "0"}
    (run / "timings.json").write_text(json.dumps({"config": settings, "stages": []}))
    trials = [
        dataclasses.asdict(
            Trial(
                seed=seed,
                success=False,
                score=0.0,
                duration=1.0,
                jerk=0.0,
                refused=3,
                refusals={"far": 2, "jump": 1},
            )
        )
        for seed in range(2)
    ]
    evaluation = {"task": "reach", "policies": {"plain": trials}}
    (run / "evaluation.json").write_text(json.dumps(evaluation))
    outcome = {"seed": 1, "success": True, "score": 1.0, "outcome": "success", "reason": ""}
    (run / "nodes_plain.jsonl").write_text(json.dumps(outcome) + "\n")
    runtime = {"refused": 2, "refusals": {"distance": 2}, "unobserved": 7}
    loop = {"ticks": 5, "misses": 0, "median_ms": 50.0, "p99_ms": 51.0, "period_ms": 50.0}
    (run / "timing_plain.json").write_text(json.dumps({"loop": loop, "runtime": runtime}))
    assert report(ReportConfig(run=run)) == 0
    page = (run / "report.html").read_text()
    assert "cite no latency" not in page
    slow = {"config": {**settings, "clocks": "0.4"}, "stages": []}
    (run / "timings.json").write_text(json.dumps(slow))
    assert report(ReportConfig(run=run)) == 0
    assert (
        "clocks that went at 0.4 of their speed: cite no latency"
        in (run / "report.html").read_text()
    )
    assert "4 far, 2 jump" in page
    assert "2 distance; 7 ticks without an observation" in page
