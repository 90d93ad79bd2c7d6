"""The codes of demonstrated chunks are those that the tokens give, in the order of the arms."""

import dataclasses

import pytest
import torch

from ate_core.errors import TrainingError
from ate_policy.models.clap_rf import PRESETS, ClapRf, ClapRfConfig
from ate_policy.models.interface import PolicyConfig
from ate_policy.token_folder import load_tokens
from ate_policy.transforms import ChunkTransform
from training.clap.chunk_codes import chunk_codes
from training.clap.chunks import load_token_data
from training.configs.train_tokens import TrainTokensConfig
from training.data.dataset import gather
from training.data.micro_batch import split
from training.data.sampler import BatchSampler
from training.data.trajectory import read_trajectories
from training.train_tokens import train_tokens

CODES, BOOK = 2, 8
SIZES = {"codes": CODES, "codebook": BOOK, "code_width": 4, "width": 16, "feedforward": 32}


@pytest.fixture(scope="module", params=["tool", "relative", "absolute"])
def tokens(tmp_path_factory, episodes, request):
    """Tokens of a space after one step, and their configuration."""
    config = TrainTokensConfig(
        output=tmp_path_factory.mktemp("tokens") / "run",
        episodes=(episodes,),
        space=request.param,
        steps=1,
        batch=8,
        heads=2,
        **SIZES,
    )
    assert train_tokens(config) == 0
    return config, load_tokens(config.output)


def demonstrations(episodes, horizon=20):
    config = PolicyConfig(horizon=horizon, objects=1)
    return gather(read_trajectories(episodes), config)


def test_codes_are_those_of_the_data_that_the_tokens_learned_from(tokens, episodes):
    config, stored = tokens
    data = load_token_data(config)
    by_arm = stored.model.encode(data.normalised().flatten(0, 1))[0]
    codes = chunk_codes(stored, demonstrations(episodes), "the tokens")
    assert codes.shape == (len(data.chunks), 2 * CODES) and codes.dtype == torch.int64
    assert torch.equal(codes, by_arm.unflatten(0, (-1, 2)).flatten(1))
    assert len(codes.unique()) > 2


def test_tokens_of_another_horizon_rate_or_layout_are_refused_by_name(tokens, episodes):
    _, stored = tokens
    with pytest.raises(TrainingError, match="the tokens has horizon 20, needed is 8"):
        chunk_codes(stored, demonstrations(episodes, horizon=8), "the tokens")
    for change, message in (
        ({"tick_rate": 30.0}, "has tick_rate 30, needed is 20"),
        ({"layout": ("left_gripper",)}, r"has layout 1 numbers \(left_gripper\)"),
    ):
        other = dataclasses.replace(
            stored, identity=dataclasses.replace(stored.identity, **change)
        )
        with pytest.raises(TrainingError, match=message):
            chunk_codes(other, demonstrations(episodes), "the tokens")


def test_a_batch_holds_the_codes_of_its_own_ticks(tokens, episodes):
    _, stored = tokens
    data = demonstrations(episodes)
    codes = chunk_codes(stored, data, "the tokens")
    model = ClapRf(ClapRfConfig(horizon=20, objects=1, **PRESETS["tiny"].sizes))
    sampler = BatchSampler(data, ChunkTransform(data.statistics()), model, batch=8, codes=codes)
    draw, device = sampler.draw(), torch.device("cpu")
    for part in split(8, processes=1, process=0, accumulate=2):
        batch = sampler.load(draw, part, torch.empty(8, 0), device)
        assert torch.equal(batch.inputs.codes, codes[part.of(draw.rows)])
