"""The short form of table (c): tiny networks, episodes that nobody simulated."""

import dataclasses

import numpy as np
import pytest

from benchmarks import few_demonstrations as table_c
from benchmarks import stages, video_alignment, watched_chain
from benchmarks.few_demonstrations import differences, judge, table
from benchmarks.watched_chain import ARMS, Options, among, shuffled, with_true_codes
from training.clap.pseudo_labels import read_pseudo_labels


def rows_of(arm, values):
    labels = {} if arm == ARMS[0] else {"labels_right": 0.1}
    return [
        {"arm": arm, "seed": seed, "success": value, "right": 0.3, "majority": 0.2, **labels}
        for seed, value in enumerate(values)
    ]


def rows(pseudo=(0.6, 0.62, 0.61), true=(0.7, 0.72, 0.74)):
    return [
        *rows_of(ARMS[0], [0.5, 0.52, 0.51]),
        *rows_of("pseudo", pseudo),
        *rows_of("shuffled", [0.5, 0.51, 0.52]),
        *rows_of("true codes", true),
    ]


def test_gates_are_judged_on_differences_of_equal_seeds():
    assert differences(rows(), "pseudo", "shuffled") == pytest.approx([10.0, 11.0, 9.0])
    room, shown = judge(rows())
    assert room.endswith("there is room") and shown.endswith(": shown")
    room, shown = judge(rows(pseudo=(0.5, 0.6, 0.45), true=(0.55, 0.6, 0.58)))
    assert room.endswith("no room") and shown.endswith("not shown")
    assert judge(rows()[:2])[0].endswith("no room"), "of no runs nothing is said"


def test_the_table_says_how_good_the_labels_were():
    lines = table(rows())
    assert lines[2].startswith(
        "| demonstrations | 3 | 51.0 | +0.0 (+0.0 to +0.0) | – | 30.0 (20.0)"
    )
    assert "| pseudo | 3 | 61.0 | +10.0 (+10.0 to +10.0) | 10.0 | 30.0 (20.0) |" in lines


def test_the_table_goes_on_where_it_stopped(tmp_path, monkeypatch, capsys, played):
    for module in (video_alignment, stages):
        monkeypatch.setattr(module, "collect_fast", played)
    options = Options(alignment=tmp_path / "b", output=tmp_path / "c", try_out=True)
    assert table_c.main(options) == 0
    first = capsys.readouterr().out
    told = first[first.index("| arm |") :]
    assert "| true codes | 1 |" in told and "100.0" in told.splitlines()[5]
    for module, name in ((watched_chain, "align_video"), (stages, "finetune")):
        monkeypatch.setattr(module, name, lambda config: pytest.fail("trained again"))
    assert table_c.main(options) == 0
    assert capsys.readouterr().out == told

    seed = options.output / "seed_0"
    assert not [one for one in (seed / "demonstrations").iterdir() if one.is_dir()], "a run in it"
    clips = seed / "video_task"
    pseudo, mixed, true = (
        read_pseudo_labels(clips / f"{name}.safetensors")
        for name in ("pseudo", "shuffled", "true_codes")
    )
    every = [np.concatenate([one.codes for one in x.episodes.values()]) for x in (pseudo, mixed)]
    assert sorted(map(bytes, every[0])) == sorted(map(bytes, every[1])), "the same codes"
    for one, other in zip(pseudo.episodes.values(), true.episodes.values(), strict=True):
        np.testing.assert_array_equal(one.ticks, other.ticks)
        assert (other.confidence == 1.0).all()


def test_labels_are_moved_as_a_whole(tmp_path, monkeypatch, played):
    for module in (video_alignment, stages):
        monkeypatch.setattr(module, "collect_fast", played)
    options = Options(alignment=tmp_path / "b", output=tmp_path / "c", try_out=True)
    options = dataclasses.replace(options, **table_c.SMALLEST)
    chain = watched_chain.Chain(options=options, seed=3)
    labels = read_pseudo_labels(chain.labels("pseudo"))
    name, one = next(iter(labels.episodes.items()))
    later = among(labels, {**dict.fromkeys(labels.episodes, 0), name: int(one.ticks[2])})
    assert later.windows == labels.windows - 2
    codes = {
        key: (2, np.arange(each.rows)[:, None, None] + np.zeros(each.codes.shape[1:], np.int64))
        for key, each in labels.episodes.items()
    }
    kept = among(labels, dict.fromkeys(labels.episodes, 2))
    found = with_true_codes(kept, codes).episodes[name]
    assert (found.codes[:, 0, 0] == found.ticks - 2).all(), "rows count from the first command"
    assert shuffled(labels, 0).episodes.keys() == labels.episodes.keys()
    again = [shuffled(labels, seed).episodes[name].codes for seed in (0, 0, 1)]
    np.testing.assert_array_equal(again[0], again[1])
