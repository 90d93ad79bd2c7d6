import pytest
import torch

from ate_core.errors import CheckpointError
from ate_policy.models.action_tokens import (
    ActionTokens,
    ActionTokensConfig,
    Codebook,
    straight_through,
)

SMALL = ActionTokensConfig(
    horizon=6, action_size=3, codes=4, codebook=16, code_width=8, width=16, heads=2, feedforward=32
)


@pytest.fixture
def tokens():
    torch.manual_seed(0)
    return ActionTokens(SMALL)


def chunks(count=7, seed=0):
    return torch.randn(count, 6, 3, generator=torch.Generator().manual_seed(seed))


@pytest.fixture
def book():
    """The two codes (0, 0) and (1, 0)."""
    made = Codebook(2, 2)
    made.codes.data = torch.tensor([[0.0, 0.0], [1.0, 0.0]])
    return made


def test_a_chunk_becomes_codes_and_the_codes_a_chunk(tokens):
    codes, z_e = tokens.encode(chunks())
    assert codes.shape == (7, 4) and codes.dtype == torch.int64
    assert z_e.shape == (7, 4, 8)
    assert tokens.decode(codes).shape == (7, 6, 3)
    torch.testing.assert_close(tokens(chunks())[0], tokens.decode(codes))


def test_capacity_is_that_of_the_codes():
    assert SMALL.bits == 16.0
    assert ActionTokensConfig(horizon=20, action_size=7, codes=12, codebook=128).bits == 84.0


def test_every_parameter_learns(tokens):
    a_hat, z_e, z_q, _ = tokens(chunks())
    (a_hat.square().mean() + (z_e.detach() - z_q).square().mean()).backward()
    for name, parameter in tokens.named_parameters():
        assert parameter.grad is not None and parameter.grad.abs().sum() > 0.0, name


def test_samples_do_not_see_each_other(tokens):
    batch = chunks()
    alone = torch.cat([tokens.encode(one[None])[1] for one in batch])
    torch.testing.assert_close(tokens.encode(batch)[1], alone, atol=1e-6, rtol=1e-5)


def test_nearest_codes_and_the_gradient_through_them(book):
    z_e = torch.tensor([[0.2, 0.1], [0.9, -0.2]], requires_grad=True)
    codes = book.nearest(z_e)
    assert codes.tolist() == [0, 1]
    decoded = straight_through(z_e, book(codes))
    loss = (decoded - torch.tensor([[0.1, 0.1], [1.0, 0.1]])).square().sum()
    assert loss.item() == pytest.approx(0.03)
    loss.backward()
    torch.testing.assert_close(z_e.grad, torch.tensor([[-0.2, -0.2], [0.0, -0.2]]))
    assert book.codes.grad is None or not book.codes.grad.any()


def test_bfloat16_around_it_does_not_change_the_nearest_code():
    torch.manual_seed(0)
    book, z = Codebook(256, 8), torch.randn(500, 8)
    book.codes.data = 1.0 + 0.01 * torch.randn(256, 8)
    with torch.autocast("cpu", torch.bfloat16):
        found = book.nearest(z)
    assert torch.equal(found, book.nearest(z))
    assert torch.equal(found, torch.cdist(z.double(), book.codes.double()).argmin(1))


def test_codes_that_nothing_used_restart_from_the_pool(book):
    book.count(torch.tensor([[1, 1]]))
    pool = torch.tensor([[5.0, 6.0]])
    assert book.restart(pool, torch.Generator()) == 1
    assert book.codes.tolist() == [[5.0, 6.0], [1.0, 0.0]]
    assert book.usage.tolist() == [0, 0]


def test_a_frozen_book_is_the_same_to_the_bit_after_steps_and_restarts(tokens):
    tokens.freeze()
    before = {name: value.clone() for name, value in tokens.state_dict().items()}
    free = torch.zeros(7, 4, 8, requires_grad=True)
    optimizer = torch.optim.AdamW([*tokens.parameters(), free], lr=1.0, weight_decay=0.5)
    for _ in range(3):
        codes = tokens.codebook.nearest(free)
        tokens.codebook.count(codes)
        tokens.decode_latent(straight_through(free, tokens.codebook(codes))).sum().backward()
        optimizer.step()
        assert tokens.codebook.restart(torch.ones(5, 8), torch.Generator()) == 0
    for name, value in tokens.state_dict().items():
        assert torch.equal(value, before[name]), name
    assert free.abs().sum() > 0.0


def test_sizes_that_do_not_fit_are_refused():
    with pytest.raises(CheckpointError, match="multiple of heads"):
        ActionTokensConfig(horizon=6, action_size=3, width=30)
    with pytest.raises(CheckpointError, match="codes is 0"):
        ActionTokensConfig(horizon=6, action_size=3, codes=0)
    with pytest.raises(CheckpointError, match="one code says nothing"):
        ActionTokensConfig(horizon=6, action_size=3, codebook=1)
    with pytest.raises(CheckpointError, match="6 actions of 3 numbers, give at most 18"):
        ActionTokensConfig(horizon=6, action_size=3, codes=19)
