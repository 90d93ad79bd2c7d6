"""Noise on what a network is shown has the size that its option says, in whatever units."""

from types import SimpleNamespace

import pytest
import torch

from ate_policy.transforms import ChunkTransform, Statistics, VectorStatistics
from training.data.micro_batch import MicroBatch
from training.data.observations import Observations

TICKS = 4000
DEVIATIONS = torch.tensor([0.1, 2.0, 0.0])


def statistics(mean, std):
    return VectorStatistics(mean=mean, std=std, q01=mean, q99=mean)


@pytest.mark.parametrize("normalise", [True, False])
def test_noise_is_in_units_of_the_deviations_also_in_robot_units(normalise):
    generator = torch.Generator().manual_seed(0)
    states = 1.0 + DEVIATIONS * torch.randn(TICKS, 3, generator=generator)
    scale = DEVIATIONS.clamp_min(1e-3) if normalise else torch.ones(3)
    own = statistics((1.0,) * 3, tuple(scale.tolist())) if normalise else None
    own = own or statistics((0.0,) * 3, (1.0,) * 3)
    seen = SimpleNamespace(
        states=states, environment=states, images=None, instructions_of=lambda rows: ()
    )
    transform = ChunkTransform(Statistics(state=own, action=own, environment=own))
    observations = Observations(seen, transform, input_noise=0.02, augmentation=None)
    draw = observations.draw(torch.arange(TICKS), generator)
    shown = observations.inputs(draw, MicroBatch(0, TICKS, last=True), torch.device("cpu"))
    for values in (shown.state, shown.environment):
        noise = values * scale + torch.tensor(own.mean) - states
        sizes = noise.std(dim=0)[:2] / DEVIATIONS[:2]
        torch.testing.assert_close(sizes, torch.full((2,), 0.02), rtol=0.05, atol=0.0)
        if not normalise:
            assert noise[:, 2].abs().max() < 1e-6, "a joint that rests is shown at rest"
