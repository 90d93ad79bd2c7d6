"""docs/episode_format.md and the code name the same entries."""

import re
from pathlib import Path

import h5py
import pytest

from ate_core.streams import INFO_TOPIC, OUTCOME_TOPIC, cell_streams
from training.convert_bags import ConvertConfig, convert
from training.data.bag_reader import read_episode_bag
from training.data.episode_file import ATTRIBUTES, DATASETS

PAGE = Path(__file__).parents[2] / "docs" / "episode_format.md"


def first_column(heading):
    """The names in the first column of the table under a heading or a bold line."""
    text = PAGE.read_text().split(heading, 1)[1]
    table = re.search(r"(?:^\|.*\n)+", text, re.MULTILINE).group()
    return re.findall(r"^\| `([^`]+)` \|", table, re.MULTILINE)


@pytest.fixture(scope="module")
def converted(studio, tmp_path_factory):
    folder = tmp_path_factory.mktemp("format")
    bag = studio.record(folder / "bags", studio.messages(), task="pick_place")
    assert convert(ConvertConfig(bags=bag, output=folder / "data")) == 0
    return bag, folder / "data" / "episode_000000.hdf5"


def test_the_page_lists_the_datasets_and_attributes_of_the_code():
    assert first_column("## HDF5") == list(DATASETS)
    assert first_column("JPEGs are ordinary ones") == list(ATTRIBUTES)


def test_a_file_holds_what_the_page_lists(converted, studio):
    names = set()
    with h5py.File(converted[1]) as file:
        file.visititems(
            lambda name, item: names.add(f"/{name}") if hasattr(item, "dtype") else None
        )
        assert sorted(file.attrs) == sorted(ATTRIBUTES)
    listed = set()
    for dataset in DATASETS:
        streams = [spec.name for spec in cell_streams(studio.cell) if spec.kind != "other"]
        keys = {"<key>": studio.cell.layout.cameras, "<stream>": streams}
        place = next((place for place in keys if place in dataset), "")
        listed |= {dataset.replace(place, key) for key in keys.get(place, ("",))}
    assert names == listed


def test_the_page_lists_the_keys_of_info_and_outcome(converted):
    bag = read_episode_bag(converted[0])
    assert sorted(first_column(f"**First message**, `{INFO_TOPIC}`")) == sorted(bag.info)
    assert sorted(first_column(f"**Last message**, `{OUTCOME_TOPIC}`")) == sorted(bag.outcome)


def test_the_page_lists_the_streams_of_the_cell(studio):
    text = PAGE.read_text()
    listed = set(first_column("**Topics**"))
    cameras = {camera.key: role for role, camera in studio.cell.cameras.items()}
    for spec in cell_streams(studio.cell):
        name, topic = spec.name, spec.topic
        for side in ("left", "right"):
            if spec.name.startswith(f"{side}_"):
                name = f"<side>_{spec.name.removeprefix(f'{side}_')}"
                topic = topic.replace(f"/{side}/", "/<side>/")
        for key, role in cameras.items():
            if name in (key, f"{key}_info"):
                name, topic = name.replace(key, "<camera>"), topic.replace(role, "<role>")
        assert name in listed
        assert f"| `{name}` | `{topic}` | `{spec.msgtype}` |" in text
