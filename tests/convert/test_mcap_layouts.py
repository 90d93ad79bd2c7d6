"""Bags that other tools have laid out anew: the same messages become the same episode."""

import shutil

import h5py
import numpy as np
import pytest
from mcap.writer import CompressionType, IndexType

from benchmarks.rewritten_bag import rewrite_bag
from training.convert_bags import ConvertConfig, convert_episode
from training.data.bag_reader import bag_file, read_messages

LAYOUTS = {
    "lz4": {"compression": CompressionType.LZ4},
    "zstd": {"compression": CompressionType.ZSTD},
    "small chunks": {"chunk_size": 4096},
    "without chunks": {"use_chunking": False},
    "without statistics": {"use_statistics": False},
    "without indexes": {"index_types": IndexType.NONE},
    "without summary": {
        "index_types": IndexType.NONE,
        "use_statistics": False,
        "use_summary_offsets": False,
        "repeat_channels": False,
        "repeat_schemas": False,
    },
    "without checksums": {"enable_crcs": False},
    "checksum of all": {"enable_data_crcs": True},
}


@pytest.fixture(scope="module")
def bag(studio, tmp_path_factory):
    return studio.record(tmp_path_factory.mktemp("layouts"), studio.messages(seconds=1.3))


def converted(bag, output):
    """Everything that an episode holds, by name."""
    report = convert_episode(bag, ConvertConfig(bags=bag.parent, output=output))
    assert report.result == "converted", report.reason
    found = {}
    with h5py.File(output / f"{bag.name}.hdf5") as file:
        file.visititems(
            lambda name, item: (
                found.update({name: item[()]}) if isinstance(item, h5py.Dataset) else None
            )
        )
    return found


@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS)
def test_the_layout_of_a_file_changes_nothing_of_its_episode(bag, tmp_path, layout):
    copy = tmp_path / "bags" / bag.name
    shutil.copytree(bag, copy)
    rewrite_bag(copy, list(read_messages(bag_file(bag), as_written=True)), **layout)
    assert bag_file(copy).read_bytes() != bag_file(bag).read_bytes()
    as_recorded, now = converted(bag, tmp_path / "a"), converted(copy, tmp_path / "b")
    assert list(now) == list(as_recorded)
    for name, value in as_recorded.items():
        np.testing.assert_array_equal(now[name], value, err_msg=name)
