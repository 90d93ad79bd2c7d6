"""Codes beside episodes: what is written is read, and what cannot be is refused."""

import dataclasses

import numpy as np
import pytest

from ate_core.errors import EpisodeError
from ate_policy.token_folder import TokenIdentity
from training.clap.pseudo_labels import (
    NAME,
    EpisodeLabels,
    PseudoLabels,
    digest_of_times,
    read_pseudo_labels,
    write_pseudo_labels,
)

TOKENS = TokenIdentity(
    space="tool", horizon=20, tick_rate=20.0, layout=("left_gripper", "right_gripper"), sha256="ab"
)


def labels_of(rows=40, windows=3, **change):
    rng = np.random.default_rng(0)
    one = EpisodeLabels(
        ticks=np.arange(windows) * 5,
        codes=rng.integers(0, 8, (windows, 2, 4)),
        confidence=rng.uniform(size=(windows, 2)).astype(np.float32),
        rows=rows,
        times=digest_of_times(np.arange(rows) * 50_000_000),
    )
    return PseudoLabels(
        tokens=TOKENS,
        arms=("left", "right"),
        codebook=8,
        episodes={"episode_000003": dataclasses.replace(one, **change)},
        about={"made_by": "test"},
    )


def test_what_is_written_is_read_from_the_file_and_its_folder(tmp_path):
    written = labels_of()
    write_pseudo_labels(tmp_path / NAME, written)
    for path in (tmp_path, tmp_path / NAME):
        read = read_pseudo_labels(path)
        assert (read.tokens, read.arms, read.codebook) == (TOKENS, ("left", "right"), 8)
        assert (read.windows, read.codes_per_arm) == (3, 4)
        assert read.about == {"made_by": "test"}
        one, other = read.episodes["episode_000003"], written.episodes["episode_000003"]
        assert (one.rows, one.times) == (other.rows, other.times)
        for part in ("ticks", "codes", "confidence"):
            np.testing.assert_array_equal(getattr(one, part), getattr(other, part))
    first = (tmp_path / NAME).read_bytes()
    write_pseudo_labels(tmp_path / NAME, written)
    assert (tmp_path / NAME).read_bytes() == first
    assert [path.name for path in tmp_path.iterdir()] == [NAME]


def test_an_episode_in_which_nothing_moved_has_no_windows(tmp_path):
    write_pseudo_labels(tmp_path / NAME, labels_of(windows=0))
    assert read_pseudo_labels(tmp_path).windows == 0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"codes": np.full((3, 2, 4), 8)}, "codes reach from 8 to 8, must be 0 to 7"),
        ({"codes": np.zeros((3, 1, 4), np.int64)}, r"codes begin with shape \(3, 1\), need"),
        ({"codes": np.zeros((3, 2, 4), np.int32)}, "codes int32: need int64"),
        ({"rows": 30}, r"windows begin at ticks 0 to 10, must rise from 0 to 9: the episode"),
        ({"ticks": np.array([0, 5, 5])}, "must rise"),
        ({"confidence": np.full((3, 2), 1.1, np.float32)}, r"confidence is not in \[0, 1\]"),
        ({"confidence": np.full((3, 2), np.nan, np.float32)}, "confidence is not in"),
    ],
)
def test_labels_that_cannot_be_are_refused_with_the_episode(change, message):
    with pytest.raises(EpisodeError, match=f"labels of episode_000003: .*{message}"):
        labels_of(**change)


def test_a_damaged_or_missing_file_is_named(tmp_path):
    with pytest.raises(EpisodeError, match=r"pseudo_labels\.safetensors is not there: label"):
        read_pseudo_labels(tmp_path)
    write_pseudo_labels(tmp_path / NAME, labels_of())
    whole = (tmp_path / NAME).read_bytes()
    for damaged in (whole[:-7], b"", whole.replace(rb"format\": 1", rb"format\": 9")):
        (tmp_path / NAME).write_bytes(damaged)
        with pytest.raises(EpisodeError, match=r"pseudo_labels\.safetensors.*label the episodes"):
            read_pseudo_labels(tmp_path)
