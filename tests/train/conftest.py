"""Small synthetic demonstrations: arms that follow their objects along straight paths."""

import contextlib
import dataclasses
import signal

import numpy as np
import pytest
import simplejpeg
import torch

from ate_core.contract import load_cell
from ate_core.resample import tick_period_ns
from training import finetune as command
from training.data.episode_file import Episode, write_episode

TICKS = 40


@pytest.fixture
def stop_at(monkeypatch):
    """A function that makes fine-tuning receive SIGTERM in a step."""

    def stop(step):
        original = command.loss_of

        def interrupted(model, objective, output, batch, current):
            if current == step:
                signal.raise_signal(signal.SIGTERM)
            return original(model, objective, output, batch, current)

        monkeypatch.setattr(command, "loss_of", interrupted)

    return stop


@pytest.fixture
def ended_before(monkeypatch):
    """A context in which a training command ends by Ctrl-C before a step."""

    @contextlib.contextmanager
    def ended(module, step):
        original = module.rate_of

        def interrupted(config, current):
            if current == step:
                raise KeyboardInterrupt
            return original(config, current)

        with monkeypatch.context() as patch:
            patch.setattr(module, "rate_of", interrupted)
            yield

    return ended


@pytest.fixture(autouse=True)
def _one_thread():
    """More threads are slower for tiny networks, and sums would depend on their number."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def cell():
    """The packaged cell with emulated devices."""
    return load_cell(hardware="sim")


def reach(cell, rng, *, ticks=TICKS, objects=1, images=False, task="reach"):
    """One demonstration: both arms move from a middle posture to where their object tells."""
    phase = np.linspace(0.0, 1.0, ticks)[:, None]
    layout = cell.layout.action
    goal = rng.uniform(-0.5, 0.5, layout.size)
    goal[list(layout.columns("ratio"))] += 0.5  # grippers lie between 0 and 1
    action = (0.5 + (goal - 0.5) * phase).astype(np.float32)
    poses = np.zeros((ticks, objects, 7), np.float32)
    poses[..., :3], poses[..., 6] = goal[:3], 1.0
    encoded = {}
    if images:
        for camera in cell.cameras.values():
            picture = rng.integers(0, 255, (54, 96, 3), np.uint8)
            encoded[camera.key] = [simplejpeg.encode_jpeg(picture, 90, "RGB")] * ticks
    return Episode(
        state=action - np.float32(0.01),
        velocity=np.zeros((ticks, len(layout.columns("rad"))), np.float32),
        wrench=np.zeros((ticks, 12), np.float32),
        action=action,
        timestamps_ns=np.arange(ticks, dtype=np.int64) * tick_period_ns(cell.tick_rate),
        environment=poses if objects else None,
        images=encoded,
        cell=cell,
        task=task,
    )


@pytest.fixture(scope="session")
def write_demonstrations(cell):
    """Write `count` seeded demonstrations into a folder; returns the folder."""
    packaged = cell

    def write(folder, count=3, seed=0, change=None, cell=packaged, **settings):
        rng = np.random.default_rng(seed)
        for index in range(count):
            episode = reach(cell, rng, **settings)
            if change and index == count - 1:
                episode = dataclasses.replace(episode, **change)
            write_episode(folder / f"episode_{index:06d}.hdf5", episode)
        return folder

    return write


@pytest.fixture(scope="session")
def episodes(tmp_path_factory, write_demonstrations):
    """Three demonstrations on disk."""
    return write_demonstrations(tmp_path_factory.mktemp("episodes"))
