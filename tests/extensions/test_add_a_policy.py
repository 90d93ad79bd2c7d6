"""A network of another package, as docs/adding_a_policy.md shows it."""

import subprocess
import sys

import numpy as np
import pytest

from ate_bringup.cli import main
from ate_core.contract import load_cell
from ate_core.errors import CheckpointError
from ate_core.observation import Observation
from ate_policy.checkpoint import load_checkpoint
from ate_policy.policy import load_policy
from training.configs.finetune import FinetuneConfig
from training.data.episode_file import Episode, write_episode

PAGE = "adding_a_policy.md"


@pytest.fixture
def episodes(tmp_path):
    """Two demonstrations: both arms follow their object."""
    cell, rng = load_cell(hardware="sim"), np.random.default_rng(0)
    for index in range(2):
        phase = np.linspace(0.0, 1.0, 40)[:, None]
        action = (0.5 + rng.uniform(-0.5, 0.5, cell.layout.action.size) * phase).astype(np.float32)
        poses = np.zeros((40, 1, 7), np.float32)
        poses[..., :3], poses[..., 6] = action[-1, :3], 1.0
        episode = Episode(
            state=action,
            velocity=np.zeros((40, len(cell.layout.action.columns("rad"))), np.float32),
            wrench=np.zeros((40, 6 * len(cell.arms)), np.float32),
            action=action,
            timestamps_ns=np.arange(40, dtype=np.int64) * 50_000_000,
            environment=poses,
            images={},
            cell=cell,
            task="follow",
        )
        write_episode(tmp_path / "episodes" / f"episode_{index:06d}.hdf5", episode)
    return tmp_path / "episodes"


@pytest.fixture
def recurrent(add_package, code_of):
    """The package of the page, installed."""
    code = code_of(PAGE, "python")[0]
    assert len(code.splitlines()) < 80
    add_package("my_policies", code, "ate.policies", {"recurrent": "my_policies:ENTRY"})


@pytest.mark.usefixtures("recurrent")
def test_a_network_of_another_package_trains_and_runs(tmp_path, episodes):
    run = tmp_path / "run"
    words = ["finetune", "--episodes", episodes, "--output", run, "--steps", "3"]
    words += ["policy:recurrent", "--policy.preset", "tiny", "--policy.width", "16"]
    words += ["--optim.batch", "8", "--save-every", "2"]
    command = [sys.executable, "-m", "ate_bringup.cli", *map(str, words)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert main([*map(str, words), "--resume"]) == 0
    stored = load_checkpoint(run)
    assert stored.kind == "recurrent" and stored.model["width"] == 16
    cell = load_cell(hardware="sim")
    policy = load_policy(run, cell)
    observation = Observation(
        state=np.full(cell.layout.state.size, 0.5, np.float32),
        environment=np.asarray([[0.3, 0.1, 0.0, 0.0, 0.0, 0.0, 1.0]], np.float32),
        stamp_ns=0,
    )
    chunk = policy.infer(observation, 0)
    assert chunk.shape == (20, cell.layout.action.size) and np.isfinite(chunk).all()


@pytest.mark.usefixtures("recurrent")
def test_its_options_are_offered_and_its_inputs_are_kept(episodes, tmp_path, capsys):
    with pytest.raises(SystemExit):
        main(["finetune", "--help"])
    assert "policy:recurrent" in capsys.readouterr().out
    words = ["finetune", "--episodes", str(episodes), "--output", str(tmp_path / "run")]
    assert main([*words, "--variant", "vision", "policy:recurrent"]) == 1
    assert "policy:recurrent reads no cameras" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main([*words, "policy:flow", "--policy.width", "16"])
    assert "policy:recurrent" in capsys.readouterr().err


def test_a_checkpoint_whose_package_is_absent_names_it(tmp_path, episodes, request):
    request.getfixturevalue("recurrent")
    run = tmp_path / "run"
    words = ["finetune", "--episodes", str(episodes), "--output", str(run), "--steps", "1"]
    assert main([*words, "policy:recurrent", "--policy.preset", "tiny"]) == 0
    request.getfixturevalue("monkeypatch").undo()
    with pytest.raises(Exception, match="no policy 'recurrent': known are flow"):
        load_policy(run)


def test_a_mode_of_guidance_of_another_package_steers(tmp_path, episodes, add_package, code_of):
    code = code_of(PAGE, "python")[1]
    add_package("my_guidance", code, "ate.guidance", {"late": "my_guidance:LateGuidance"})
    vae = ["train-vae", "--stage", "2", "--single-stage", "--episodes", str(episodes)]
    vae += ["--output", str(tmp_path / "vae"), "--steps", "1", "--latent", "8", "--width", "16"]
    assert main([*vae, "--batch", "4"]) == 0
    words = ["finetune", "--episodes", str(episodes), "--output", str(tmp_path / "run")]
    words += [
        "guidance:late",
        "--guidance.vae",
        str(tmp_path / "vae"),
        "--guidance.strength",
        "0.5",
    ]
    assert main([*words, "--steps", "2", "policy:flow", "--policy.preset", "tiny"]) == 0
    stored = load_checkpoint(tmp_path / "run")
    assert stored.training["guidance"]["name"] == "late"
    assert "| guidance | late, " in stored.card


def test_a_network_with_the_options_of_another_is_refused_with_both_names(tmp_path, add_package):
    code = "import dataclasses\nfrom ate_policy.models.flow_policy import ENTRY as FLOW\n"
    code += "ENTRY = dataclasses.replace(FLOW, large=True)\n"
    add_package("same_options", code, "ate.policies", {"twin": "same_options:ENTRY"})
    with pytest.raises(CheckpointError, match="policy 'flow' and 'twin' have one class"):
        FinetuneConfig(episodes=tmp_path, output=tmp_path)


def test_a_broken_network_of_another_package_leaves_ours_working(tmp_path, add_package, caplog):
    add_package("no_torch", "import absent_torch\n", "ate.policies", {"broken": "no_torch:ENTRY"})
    assert FinetuneConfig(episodes=tmp_path, output=tmp_path).policy_name == "flow"
    assert "no_torch:ENTRY" in caplog.text
