import dataclasses
import math

import pytest
import torch

from ate_policy.checkpoint import load_checkpoint
from ate_policy.models.pi0_entry import Pi0Options
from ate_policy.models.rdt_entry import RdtOptions
from training.configs.finetune import FinetuneConfig, ImageOptions, OptimOptions
from training.data.augmentation import Openpi, Shift, crop_and_turn, jitter, make_augmentation
from training.finetune import finetune

CAMERAS = ("cam_high", "cam_left_wrist", "cam_right_wrist")
ON_ARM = (False, True, True)
MIDDLE = 0.5
"""A number drawn in the middle of its range: no rotation, no colour, the crop centred."""


def ramps(height, width):
    """One image whose red is x and whose green is y, in pixels from the middle, / 100 + 0.5."""
    x = (torch.arange(width) - (width - 1) / 2).expand(height, -1)
    y = (torch.arange(height) - (height - 1) / 2)[:, None].expand(-1, width)
    return torch.stack([x, y, torch.zeros(height, width)])[None] / 100.0 + 0.5


def noise(*shape, seed=0):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


def turned(images, kept=1.0, centre=(0.0, 0.0), angle=0.0):
    count = len(images)
    centre = torch.tensor(centre).expand(count, -1)
    return crop_and_turn(images, kept, centre, torch.full((count,), angle))


def test_nothing_to_do_leaves_the_images_as_they_are():
    images = noise(2, 3, 5, 8)
    torch.testing.assert_close(turned(images), images, atol=1e-6, rtol=0.0)
    torch.testing.assert_close(jitter(images, torch.ones(2, 3)), images, atol=1e-6, rtol=0.0)


def test_a_quarter_turn_is_anticlockwise():
    images = noise(1, 3, 6, 6)
    expected = torch.rot90(images, 1, (-2, -1))
    assert torch.equal(expected[0, :, 0, 0], images[0, :, 0, 5])  # top right comes to top left
    torch.testing.assert_close(turned(images, angle=math.pi / 2), expected, atol=1e-5, rtol=0.0)


def test_a_rotation_turns_pixels_and_not_the_aspect():
    """Bilinear reading is exact on ramps: the result at p shows R p."""
    image, angle = ramps(18, 32), math.radians(5.0)
    result = turned(image, angle=angle)[0]
    x, y = 100.0 * (image[0, :2] - 0.5)
    c, s = math.cos(angle), math.sin(angle)
    inside = slice(4, 14), slice(4, 28)
    for channel, expected in ((0, c * x - s * y), (1, s * x + c * y)):
        shown = 100.0 * (result[channel] - 0.5)
        torch.testing.assert_close(shown[inside], expected[inside], atol=1e-3, rtol=0.0)
    assert not result[:, 0, 0].any()  # what was outside is black


def test_a_crop_is_enlarged_to_the_size_of_the_image():
    """Half an edge around the middle of the upper right quarter."""
    result = turned(ramps(16, 32), kept=0.5, centre=(0.5, -0.5))[0]
    x = 100.0 * (result[0, 0] - 0.5)
    torch.testing.assert_close(x[1:-1], (torch.arange(32.0) * 0.5 + 0.25)[1:-1])
    y = 100.0 * (result[1, :, 0] - 0.5)
    torch.testing.assert_close(y[1:-1], (torch.arange(16.0) * 0.5 + 0.25 - 8.0)[1:-1])


def test_brightness_contrast_and_saturation_by_hand():
    """Two pixels, red 0.4 and grey 0.2."""
    image = torch.tensor([[0.4, 0.2], [0.0, 0.2], [0.0, 0.2]])[None, :, None]

    def changed(*factors):
        return jitter(image, torch.tensor([factors]))[0, :, 0].T

    expected = torch.tensor([[0.2, 0.0, 0.0], [0.1, 0.1, 0.1]])
    torch.testing.assert_close(changed(0.5, 1.0, 1.0), expected)
    mean = (0.4 + 3 * 0.2) / 6  # of all numbers
    expected = torch.tensor([[0.4, 0.0, 0.0], [0.2, 0.2, 0.2]]) * 0.5 + 0.5 * mean
    torch.testing.assert_close(changed(1.0, 0.5, 1.0), expected)
    grey = 0.4 / 3
    expected = torch.tensor([[grey + 0.5 * (0.4 - grey), 0.5 * grey, 0.5 * grey], [0.2] * 3])
    torch.testing.assert_close(changed(1.0, 1.0, 0.5), expected)
    assert changed(1.0, 1.0, 9.0).tolist()[0] == [1.0, 0.0, 0.0]  # stays an image


def test_cameras_on_an_arm_are_neither_cropped_nor_turned():
    augmentation = Openpi(ON_ARM)
    images = noise(2, 3, 3, 20, 20) - 0.5
    drawn = torch.full((2, 3, 6), MIDDLE)
    drawn[..., :3] = 1.0
    result = augmentation.apply(images, drawn)
    torch.testing.assert_close(result[:, 1:], images[:, 1:], atol=1e-6, rtol=0.0)
    corner = turned(images[:, 0] + 0.5, 0.95, (0.05, 0.05), math.radians(5.0)) - 0.5
    torch.testing.assert_close(result[:, 0], corner)
    assert (result[:, 0] - images[:, 0]).abs().max() > 0.1


@pytest.mark.parametrize(("column", "low", "high"), [(3, 0.7, 1.3), (4, 0.6, 1.4), (5, 0.5, 1.5)])
def test_the_colours_of_every_camera_change_within_their_range(column, low, high):
    images = noise(1, 3, 3, 8, 8) * 0.2 - 0.1
    for number, factor in ((0.0, low), (1.0, high)):
        drawn = torch.full((1, 3, 6), MIDDLE)
        drawn[..., column] = number
        factors = torch.ones(2, 3)
        factors[:, column - 3] = factor
        expected = jitter(images[0, 1:] + 0.5, factors) - 0.5
        torch.testing.assert_close(Openpi(ON_ARM).apply(images, drawn)[0, 1:], expected)


def test_changed_images_stay_images_and_the_given_ones_stay_as_they_are():
    augmentation, generator = Openpi(ON_ARM), torch.Generator().manual_seed(0)
    images = (noise(16, 3, 3, 24, 32) > 0.5).float() - 0.5
    before = images.clone()
    drawn = augmentation.draw(16, generator)
    result = augmentation.apply(images, drawn)
    assert result.shape == images.shape and result.dtype == torch.float32
    assert result.min() >= -0.5 and result.max() <= 0.5
    assert torch.equal(images, before)
    part = augmentation.apply(images[5:9], drawn[5:9])  # as another process does
    torch.testing.assert_close(part, result[5:9])


def test_a_shift_moves_all_images_and_repeats_their_edges():
    images = torch.arange(9.0).view(1, 1, 1, 3, 3).expand(1, 2, 3, 3, 3)
    result = Shift(1).apply(images, torch.tensor([[0, 2]]))  # one down, one left
    assert result[0, 1, 2].tolist() == [[1, 2, 2], [1, 2, 2], [4, 5, 5]]
    drawn = Shift(2).draw(1000, torch.Generator().manual_seed(0))
    assert drawn.unique().tolist() == [0, 1, 2, 3, 4]


def test_none_changes_nothing_and_draws_nothing(cell):
    generator = torch.Generator().manual_seed(0)
    before = generator.get_state()
    images = noise(2, 3, 3, 4, 4)
    for augmentation in (make_augmentation("none", cell, CAMERAS, 3), Shift(0)):
        drawn = augmentation.draw(2, generator)
        assert torch.equal(augmentation.apply(images, drawn), images)
    assert torch.equal(generator.get_state(), before)


def test_pi0_of_full_size_is_trained_as_openpi_does(tmp_path):
    def chosen(**fields):
        config = FinetuneConfig(episodes=tmp_path, output=tmp_path, variant="vision", **fields)
        return config.augmentation

    full = Pi0Options(preset="full")
    assert chosen(policy=full) == "openpi"
    assert chosen(policy=Pi0Options()) == chosen(policy=RdtOptions(preset="full")) == "shift"
    assert chosen(images=ImageOptions(augmentation="none")) == "none"
    assert chosen(policy=full, images=ImageOptions(augmentation="shift")) == "shift"


def test_a_resumed_run_sees_the_same_changes(tmp_path, write_demonstrations, stop_at):
    folder = write_demonstrations(tmp_path / "episodes", count=2, ticks=20, images=True)
    settings = {
        "episodes": folder,
        "variant": "vision",
        "images": ImageOptions(augmentation="openpi"),
        "steps": 4,
        "optim": OptimOptions(batch=8),
    }
    finetune(FinetuneConfig(output=tmp_path / "whole", **settings))
    plain = {**settings, "images": ImageOptions(augmentation="none")}
    finetune(FinetuneConfig(output=tmp_path / "plain", **plain))
    stop_at(1)
    config = FinetuneConfig(output=tmp_path / "cut", **settings)
    assert finetune(config) == 130
    assert finetune(dataclasses.replace(config, resume=True)) == 0
    whole, cut, other = (load_checkpoint(tmp_path / run) for run in ("whole", "cut", "plain"))
    assert cut.training["step"] == 4
    for name, value in whole.weights.items():
        assert torch.equal(cut.weights[name], value)
    assert any(not torch.equal(other.weights[name], value) for name, value in cut.weights.items())
