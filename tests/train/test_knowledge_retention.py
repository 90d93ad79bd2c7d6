"""Table (d) of docs/clap.md, at its smallest."""

import pytest

from benchmarks import retention_chain
from benchmarks.knowledge_retention import SMALLEST, differences, judge, main, table
from benchmarks.retention_chain import ARMS, REFERENCE, Options


def row(arm, seed, old, error=1.0, **more):
    return {"arm": arm, "seed": seed, "old": old, "new": 0.5, "error": error, **more}


def rows_of(held=(0.45, 0.46, 0.47), cost=1.02, frozen=0.5, same=True):
    rows = []
    for seed, old in enumerate(held):
        rows += [row(REFERENCE, seed, 0.5, old_majority=0.2, new_majority=0.3)]
        rows += [row("plain", seed, 0.40 + 0.01 * seed)]
        rows += [row("frozen", seed, frozen), row("km:0.5", seed, old, cost)]
        rows += [row("km:0", seed, 0.40 + 0.01 * seed, as_plain=same)]
    return rows


def test_gates_are_judged_on_differences_paired_by_seed():
    assert judge(rows_of()) == [
        "weight 0 is plain training to the bit: holds",
        "a frozen trunk keeps the old task exactly: holds",
        "0.5 keeps more of the old task than plain, interval above 0: holds",
        "0.5 costs 2.0 % on the new task, at most 5 %: holds",
    ]
    broken = judge(rows_of(held=(0.39, 0.5, 0.42), cost=1.06, frozen=0.499, same=False))
    assert all("does not hold" in line for line in broken)
    assert "not judged" in judge(rows_of(held=(0.45, 0.46)))[2]
    assert differences(rows_of(), "km:0.5", "old") == pytest.approx([5.0, 5.0, 5.0])


def test_the_table_tells_means_and_intervals():
    lines = table(rows_of())
    assert lines[2].startswith("| reference | 3 | 50.0 |")
    assert (
        "| km:0.5 | 3 | 46.0 | +5.0 (+5.0 to +5.0) | 50.0 | 1.0200 | +2.0 (+2.0 to +2.0) |"
        in lines
    )
    assert lines[-1] == "| most frequent codes | 3 | 20.0 | – | 30.0 | – | – |"


def test_the_arms_are_those_of_the_page():
    assert len(ARMS) == 13
    assert {arm.weight for arm in ARMS.values()} == {None, 0.0, 0.005, 0.05, 0.5}


def test_what_is_done_is_not_done_again(tmp_path, capsys, monkeypatch, write_demonstrations):
    def record(folder, task, first, count):
        if not folder.is_dir():
            write_demonstrations(folder, count=max(count, 2), seed=first, objects=2, task=task)
        return folder

    monkeypatch.setattr(retention_chain, "record", record)
    arms = ("plain", "frozen", "km:0.5:old", "replay", "km:0")
    options = Options(output=tmp_path / "out", arms=arms, try_out=True)
    assert main(options) == 0
    first = capsys.readouterr().out
    assert "weight 0 is plain training to the bit: holds" in first
    assert "a frozen trunk keeps the old task exactly: holds" in first
    kept = {path: path.stat().st_mtime_ns for path in options.output.rglob("*.safetensors")}
    assert len(kept) > len(arms) and SMALLEST["seeds"] == 1
    assert main(options) == 0
    assert capsys.readouterr().out == first[first.index("| arm |") :]
    assert kept == {p: p.stat().st_mtime_ns for p in options.output.rglob("*.safetensors")}
