import pytest
import torch

from ate_core.errors import CheckpointError, TrainingError
from training.clap.features import (
    FeatureConfig,
    PcaPatches,
    fit_features,
    stored_features,
    to_unit,
)

SMALL = FeatureConfig(height=16, width=24, patch=8, size=6)


def pictures(count=40, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (count, 16, 24, 3), generator=generator, dtype=torch.uint8)


def test_patches_come_row_by_row():
    frame = torch.zeros(1, 16, 24, 3, dtype=torch.uint8)
    frame[0, 8:, 16:] = 255  # the last of 2 x 3
    features = PcaPatches.fit(SMALL, pictures())(to_unit(frame))
    assert features.shape == (1, SMALL.patches, 6)
    assert torch.equal(features[0, 0], features[0, 4])
    assert (features[0, 5] - features[0, 0]).abs().max() > 1.0


def test_directions_have_deviation_one_on_the_frames_they_were_fitted_on():
    frames = pictures(200)
    features = PcaPatches.fit(SMALL, frames)(to_unit(frames)).flatten(0, 1)
    torch.testing.assert_close(features.std(0), torch.ones(6), atol=0.01, rtol=0.0)
    torch.testing.assert_close(features.mean(0), torch.zeros(6), atol=0.01, rtol=0.0)


def test_noise_of_a_still_camera_does_not_become_a_feature():
    still = torch.full((50, 16, 24, 3), 120, dtype=torch.uint8)
    still += torch.randint(0, 2, still.shape, generator=torch.Generator().manual_seed(0)).byte()
    features = PcaPatches.fit(SMALL, still)(to_unit(still))
    assert features.std() < 0.5


def test_stored_features_are_the_same_to_the_bit():
    made = fit_features(SMALL, pictures())
    again = stored_features(made.config, made.tensors())
    frames = to_unit(pictures(seed=1))
    assert torch.equal(made(frames), again(frames))
    assert not made(frames.requires_grad_()).requires_grad


def test_frames_that_patches_do_not_fill_are_refused():
    with pytest.raises(TrainingError, match=r"height of the frames is 70, .* give 72"):
        FeatureConfig(height=70)
    with pytest.raises(TrainingError, match="a patch has 192 numbers"):
        FeatureConfig(size=193)
    with pytest.raises(TrainingError, match=r"frames have shape \(3, 16, 16\)"):
        PcaPatches.fit(SMALL, pictures())(torch.zeros(1, 3, 16, 16))


@pytest.fixture
def dino_folder(tmp_path):
    """A DINOv3 of width 16 with random weights."""
    from transformers import DINOv3ViTConfig, DINOv3ViTModel

    torch.manual_seed(0)
    config = DINOv3ViTConfig(
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        patch_size=16,
        image_size=32,
        num_register_tokens=2,
    )
    DINOv3ViTModel(config).save_pretrained(tmp_path / "dino")
    return tmp_path / "dino"


def test_a_folder_of_dino_gives_its_patches_and_stays_where_it_is(dino_folder):
    config = FeatureConfig(
        kind="dino", height=32, width=48, patch=16, size=16, folder=str(dino_folder)
    )
    made = fit_features(config, pictures())
    frames = torch.rand(2, 3, 32, 48, generator=torch.Generator().manual_seed(0))
    features = made(frames)
    assert features.shape == (2, 6, 16) and not features.requires_grad
    assert made.tensors() == {} and len(made.config.sha256) == 64
    again = stored_features(made.config, {})
    assert torch.equal(features, again(frames))


def test_another_dino_is_refused(dino_folder):
    sizes = {"kind": "dino", "height": 32, "width": 48, "folder": str(dino_folder)}
    with pytest.raises(CheckpointError, match=r"patch 16, asked for is 8: give --features\.patch"):
        fit_features(FeatureConfig(**sizes), pictures())
    with pytest.raises(CheckpointError, match=r"holds weights .*, trained was with 000000000000"):
        stored_features(FeatureConfig(**sizes, patch=16, size=16, sha256="0" * 64), {})
    with pytest.raises(CheckpointError, match="features folder is 'nowhere'"):
        fit_features(FeatureConfig(kind="dino", folder="nowhere"), pictures())
