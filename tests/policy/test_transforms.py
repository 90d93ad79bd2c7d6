import json
import math

import numpy as np
import pytest
import torch

from ate_core.errors import CheckpointError, LayoutError
from ate_core.geometry import quaternion_to_matrix
from ate_policy.images import decode_jpeg, images_to_tensor, resize_image
from ate_policy.transforms import (
    ChunkTransform,
    Statistics,
    VectorStatistics,
    environment_features,
)


def table(size, seed):
    rng = np.random.default_rng(seed)
    mean, std = rng.normal(size=size), rng.uniform(0.01, 2.0, size)
    return VectorStatistics(
        mean=tuple(mean), std=tuple(std), q01=tuple(mean - std), q99=tuple(mean + std)
    )


@pytest.fixture
def statistics():
    return Statistics(state=table(16, 0), action=table(16, 1), environment=table(12, 2))


def test_robot_to_model_to_robot_is_the_identity(statistics):
    transform = ChunkTransform(statistics)
    for part, size in ((transform.state, 16), (transform.action, 16), (transform.environment, 12)):
        values = torch.randn(5, 20, size, generator=torch.Generator().manual_seed(size))
        torch.testing.assert_close(part.invert(part.apply(values)), values, atol=1e-6, rtol=1e-6)


def test_a_vector_of_another_size_is_refused(statistics):
    with pytest.raises(LayoutError, match="14 entries, its statistics 16"):
        ChunkTransform(statistics).action.apply(torch.zeros(2, 14))


def test_statistics_survive_json_exactly(statistics):
    assert Statistics.from_dict(json.loads(json.dumps(statistics.to_dict()))) == statistics


def test_incomplete_statistics_are_refused():
    with pytest.raises(CheckpointError, match="incomplete"):
        Statistics.from_dict({"norm_stats": {"state": {"mean": [0.0]}}})
    with pytest.raises(CheckpointError, match="std <= 0"):
        VectorStatistics(mean=(0.0,), std=(0.0,), q01=(0.0,), q99=(0.0,))


@pytest.mark.parametrize("name", ["state", "actions", "environment"])
@pytest.mark.parametrize(
    ("key", "number", "words"),
    [("q01", math.nan, "span nan"), ("q99", math.inf, ".. inf"), ("q01", 90.0, "span 90 ..")],
)
def test_quantiles_that_are_no_range_are_refused_by_vector_and_column(
    key, number, words, name, statistics
):
    written = statistics.to_dict()
    written["norm_stats"][name][key][5] = number
    with pytest.raises(CheckpointError, match=f"{name}: .*in column 5") as caught:
        Statistics.from_dict(written)
    assert words in str(caught.value)


def test_a_number_that_never_changed_has_equal_quantiles_and_is_taken():
    still = VectorStatistics(mean=(0.5,), std=(0.01,), q01=(0.5,), q99=(0.5,))
    assert still.size == 1


def test_object_features_are_position_and_x_axis():
    rng = np.random.default_rng(3)
    poses = rng.normal(size=(4, 2, 7)).astype(np.float32)
    poses[..., 3:] /= np.linalg.norm(poses[..., 3:], axis=-1, keepdims=True)
    features = environment_features(poses)
    assert features.shape == (4, 12)
    assert features.dtype == np.float32
    np.testing.assert_allclose(features[1, 6:9], poses[1, 1, :3])
    axis = quaternion_to_matrix(poses[1, 1, 3:].astype(float))[:, 0]
    np.testing.assert_allclose(features[1, 9:], axis, atol=1e-5)


def test_a_quaternion_and_its_negative_are_the_same_object():
    pose = np.array([[0.1, 0.2, 0.3, 0.5, -0.5, 0.5, 0.5]], np.float32)
    negative = pose.copy()
    negative[:, 3:] *= -1
    np.testing.assert_array_equal(environment_features(pose), environment_features(negative))


def test_images_shrink_by_area():
    image = np.zeros((540, 960, 3), np.uint8)
    image[:, 480:] = 200
    small = resize_image(image, 72, 128)
    assert small.shape == (72, 128, 3)
    assert (small[:, :63] == 0).all() and (small[:, 65:] == 200).all()
    assert resize_image(small, 72, 128) is small
    with pytest.raises(LayoutError, match="float64"):
        resize_image(image.astype(float), 72, 128)


def test_a_jpeg_is_decoded_no_larger_than_needed():
    simplejpeg = pytest.importorskip("simplejpeg")
    image = np.full((540, 960, 3), (250, 120, 10), np.uint8)
    decoded = decode_jpeg(simplejpeg.encode_jpeg(image, 95, "RGB"), 72, 128)
    assert decoded.shape[0] >= 72 and decoded.shape[1] >= 128 and decoded.shape[1] < 960
    np.testing.assert_allclose(decoded.mean((0, 1)), [250, 120, 10], atol=3)
    with pytest.raises(LayoutError, match="no JPEG"):
        decode_jpeg(b"not an image", 72, 128)


def test_image_tensors_are_centred_and_channel_first():
    tensor = images_to_tensor(torch.full((2, 3, 72, 128, 3), 255, dtype=torch.uint8))
    assert tensor.shape == (2, 3, 3, 72, 128)
    assert (tensor == 0.5).all()
