import torch

from training.objectives.flow import (
    clean_loss,
    draw_noise,
    shift_clean,
    shift_velocity_paper,
    shift_velocity_pi0,
    weight_paper,
    weight_pi0,
)


def draw(seed=0, shape=(6, 4, 3)):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_both_flow_conventions_move_the_clean_estimate_alike():
    a, eps, g = draw(0), draw(1), draw(2)
    tau = torch.linspace(0.05, 0.95, 6, dtype=torch.float64)
    level, lam = tau[:, None, None], 0.7
    x = level * a + (1.0 - level) * eps
    # paper: a_hat = x + (1 - tau) v'
    shift = lam * weight_paper(tau, 1e-9)[:, None, None] * g
    paper = x + (1.0 - level) * shift_velocity_paper(a - eps, shift)
    # pi0: a_hat = x - t u'
    t = 1.0 - tau
    shift = lam * weight_pi0(t, 1e-9)[:, None, None] * g
    pi0 = x - t[:, None, None] * shift_velocity_pi0(eps - a, shift)
    # clean prediction, and the shift both shall amount to
    clean = shift_clean(a, shift, tau)
    expected = a - ((1.0 - level) ** 2 / level) * lam * g
    for value in (paper, pi0, clean):
        torch.testing.assert_close(value, expected)


def test_weights_are_finite_at_pure_noise_and_zero_at_the_chunk():
    ends = torch.tensor([0.0, 1.0])
    assert weight_paper(ends, 0.05).tolist() == [20.0, 0.0]
    torch.testing.assert_close(weight_pi0(1.0 - ends, 0.05), torch.tensor([20.0, 0.0]))


def test_a_drawn_batch_obeys_the_flow():
    a = draw().float()
    batch = draw_noise(a, torch.Generator().manual_seed(3))
    level = batch.tau[:, None, None]
    torch.testing.assert_close(batch.noisy + (1.0 - level) * batch.velocity, a)
    assert (batch.tau >= 0.0).all() and (batch.tau < 1.0).all()


def test_the_clean_loss_is_the_velocity_loss_weighted():
    a = draw().float()
    batch = draw_noise(a, torch.Generator().manual_seed(3))
    a_hat = a + 0.1 * draw(4).float()
    remaining = (1.0 - batch.tau)[:, None, None]
    v_hat = (a_hat - batch.noisy) / remaining
    weighted = (remaining * (v_hat - batch.velocity)).square().mean()
    torch.testing.assert_close(clean_loss(a_hat, a), weighted)


def test_no_shift_leaves_the_target_bit_identical():
    a = draw().float()
    assert torch.equal(shift_clean(a, torch.zeros_like(a), torch.linspace(0.05, 0.95, 6)), a)
