"""The benchmark of conversion compares two ways over the same bag."""

import h5py

from benchmarks.conversion import make_bag, measure
from training.data.episode_file import read_episode


def test_both_ways_convert_every_image_of_the_made_bag(tmp_path):
    bag = make_bag(tmp_path / "episode_000000", 2.0, "sim")
    cost = measure(bag, 2.0)
    assert cost.ours > 0.0 and cost.plain > 0.0
    episode = read_episode(tmp_path / "data" / "episode_000000.hdf5")
    with h5py.File(tmp_path / "data" / "plain.hdf5") as file:
        plain = file["/cameras/overhead/image_raw/compressed"]
        assert abs(len(plain) - len(episode)) <= 2
