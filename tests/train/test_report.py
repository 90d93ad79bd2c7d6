"""The report of a run, from the files that its stages left."""

import json

from training.configs.train_vae import TrainVaeConfig
from training.report import ReportConfig, report
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
