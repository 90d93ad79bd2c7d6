"""The short form of table (b): one task, tiny networks; what it says is of no interest."""

import pytest

from benchmarks import video_alignment as table_b
from benchmarks.video_alignment import ARMS, Options, differences, judge, table


def rows_of(arm, values, robot=50.0):
    numbers = {"candidates": 64, "r2_a": 0.1, "r2_i": 0.0, "accuracy": 0.2, "majority": 0.1}
    return [
        {
            "arm": arm,
            "seed": seed,
            "robot": {"top1": robot + seed, **numbers},
            "video": {"top1": value, **numbers},
        }
        for seed, value in enumerate(values)
    ]


def test_gates_are_judged_on_differences_of_equal_seeds():
    rows = [
        *rows_of("reconstruction", [10, 12, 11, 10, 9], robot=15.0),
        *rows_of("contrastive", [22, 24, 21, 23, 20]),
        *rows_of("labels shuffled", [9, 13, 10, 10, 8]),
    ]
    assert differences(rows, "contrastive", "reconstruction", "video") == [12, 12, 10, 13, 11]
    gates = judge(rows)
    assert all(line.endswith(": holds") for line in gates) and len(gates) == 3
    weak = [*rows[:5], *rows_of("contrastive", [13, 15, 14, 13, 12]), *rows[10:]]
    assert judge(weak)[0].endswith("does not hold")
    leaking = [*rows[:10], *rows_of("labels shuffled", [20, 22, 21, 20, 19])]
    assert judge(leaking)[2].endswith("does not hold")
    assert all("too few runs" in line for line in judge(rows_of("contrastive", [22])))
    assert table(rows)[2].startswith("| reconstruction | robot | 5 | 17.0")


def test_the_table_goes_on_where_it_stopped(tmp_path, monkeypatch, capsys, played):
    monkeypatch.setattr(table_b, "collect_fast", played)
    options = Options(
        output=tmp_path,
        tasks=("pick_place",),
        episodes=2,
        judged=2,
        arms=("contrastive",),
        seeds=1,
        steps=2,
        token_steps=2,
        batch=2,
    )
    assert table_b.main(options) == 0
    first = capsys.readouterr().out
    assert "| contrastive | video | 1 |" in first and "| frames swapped | robot | 1 |" in first
    monkeypatch.setattr(table_b, "align_video", lambda config: pytest.fail("trained again"))
    monkeypatch.setattr(table_b, "collect_fast", lambda *_, **__: pytest.fail("recorded again"))
    assert table_b.main(options) == 0
    assert capsys.readouterr().out.endswith(first[first.index("| arm |") :])
    assert set(ARMS) >= {"reconstruction", "contrastive", "with teacher", "labels shuffled"}
