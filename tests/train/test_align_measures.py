import pytest
import torch

from training.clap.align_measures import (
    Probe,
    code_accuracy,
    nearest_with_confidence,
    retrieval,
)
from training.clap.frame_changes import FrameChanges
from training.clap.latent_space import LatentSpace
from training.clap.vd_conv import pattern_of
from training.clap.video_data import Windows, window_ticks


def windows(episodes=8, each=10):
    count = episodes * each
    generator = torch.Generator().manual_seed(0)
    return Windows(
        frames=None,
        ticks=torch.arange(count),
        episode=torch.arange(episodes).repeat_interleave(each),
        chunks=torch.randn(count, 2, 20, 7, generator=generator),
        idle=torch.zeros(count, 2, dtype=torch.bool),
    )


def draws(seed=0):
    return torch.Generator().manual_seed(seed)


def test_windows_do_not_reach_into_the_next_episode():
    episode = torch.tensor([0, 0, 0, 0, 1, 1, 2, 2, 2])
    assert window_ticks(episode, 2).tolist() == [0, 1, 6]
    assert window_ticks(episode[:2], 2).tolist() == []


def test_a_draw_takes_different_episodes_as_far_as_there_are_some():
    some = windows()
    rows = some.draw(8, draws())
    assert sorted(some.episode[rows].tolist()) == list(range(8))
    many = some.episode[some.draw(20, draws())]
    assert many.bincount().max() == 3


def test_retrieval_is_sure_with_the_truth_and_guesses_without():
    some = windows(episodes=16)
    references = torch.randn(len(some), 2, 3, 4, generator=draws(1))
    space = LatentSpace(3, 4)
    right = retrieval(references, references, some, space, draws())
    assert right.top1 == 1.0 and right.candidates == 16
    wrong = retrieval(references.flip(0), references, some, space, draws())
    assert wrong.top1 < 0.2
    assert retrieval(references, references, some, space, draws(), candidates=4).candidates == 4


def test_windows_in_which_both_arms_rest_are_no_question():
    some = windows(episodes=4)
    some.idle[:30] = True  # three of four episodes
    found = retrieval(
        torch.randn(40, 2, 3, 4), torch.randn(40, 2, 3, 4), some, LatentSpace(3, 4), draws()
    )
    assert found.candidates == 1 and found.top1 != found.top1


def test_the_probe_finds_motion_that_lies_linearly_in_the_latents():
    some = windows(episodes=40)
    ends = some.chunks[:, :, -1].flatten(1)
    mixed = ends @ torch.randn(14, 24, generator=draws(2)) + 3.0
    probe = Probe(mixed[:300], some.chunks[:300])
    assert probe.r2(mixed[300:], some.chunks[300:]) > 0.99
    noise = torch.randn(400, 24, generator=draws(3))
    assert Probe(noise[:300], some.chunks[:300]).r2(noise[300:], some.chunks[300:]) < 0.1


def test_codes_are_counted_of_moving_arms_beside_the_most_frequent_code():
    true = torch.tensor([[[1, 2], [0, 0]], [[1, 3], [0, 0]], [[1, 2], [5, 5]]])
    idle = torch.tensor([[False, True], [False, True], [False, False]])
    said = true.clone()
    said[0, 0, 0] = 7
    said[0, 1] = 7  # of an arm at rest
    found = code_accuracy(said, true, idle)
    assert found["accuracy"] == pytest.approx(7 / 8)
    assert found["majority"] == pytest.approx((3 + 2) / 8)


def test_confidence_is_one_on_a_code_and_nothing_between_two():
    codes = torch.tensor([[0.0, 0.0], [2.0, 0.0], [9.0, 9.0]])
    z = torch.tensor([[[2.0, 0.0], [0.0, 0.0]], [[1.0, 0.0], [1.0, 0.0]]])
    indices, sure = nearest_with_confidence(codes, z)
    assert indices[0].tolist() == [1, 0]
    torch.testing.assert_close(sure, torch.tensor([1.0, 0.0]))


def test_both_frames_are_changed_alike_and_only_as_asked():
    frames = torch.rand(6, 1, 3, 8, 12, generator=draws()).expand(-1, 2, -1, -1, -1)
    for kind in ("none", "released", "colours"):
        changes = FrameChanges(kind)
        drawn = changes.draw(6, draws(1))
        made = changes.apply(frames, drawn)
        assert torch.equal(made, changes.apply(frames, drawn))
        assert made.min() >= 0.0 and made.max() <= 1.0
        assert (made[:, 0] - made[:, 1]).abs().mean() < 0.04  # but for noise
        assert torch.equal(made, frames) == (kind == "none")
    released, colours = (FrameChanges(kind).draw(6, draws(1)) for kind in ("released", "colours"))
    assert torch.equal(released[:, 3:12], torch.eye(3).flatten().expand(6, 9))
    assert not torch.equal(colours[:, 3:12], released[:, 3:12])


def test_half_of_the_channels_of_mixed_colours_are_negative_and_stay_in_range():
    changes = FrameChanges("colours")
    drawn = changes.draw(400, draws(2))
    drawn[:, 0:3], drawn[:, 15] = 1.0, 7.0
    ramp = torch.linspace(0.3, 0.7, 12).expand(400, 2, 3, 1, 12)
    made = changes.apply(ramp, drawn)
    negative = made[..., -3:].mean(dim=(1, 3, 4)) < made[..., :3].mean(dim=(1, 3, 4))  # (400, 3)
    assert 0.4 < negative.float().mean() < 0.6
    assert {int(n) for n in negative.sum(dim=1)} == {0, 1, 2, 3}, "each channel by itself"
    assert 0.3 < made.mean() < 0.7


def test_a_pattern_is_the_same_in_any_light():
    frame = 10.0 * torch.randn(2, 5, 3, generator=draws(1))  # far above noise
    bright = 3.0 * frame + torch.tensor([0.5, -1.0, 2.0])
    torch.testing.assert_close(pattern_of(bright), pattern_of(frame), atol=0.02, rtol=0.0)
    torch.testing.assert_close(pattern_of(-frame), -pattern_of(frame))
