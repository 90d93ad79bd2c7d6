"""Files of `ate evaluate`: read, pooled where that is allowed, and shown on one page."""

import json

import numpy as np
import pytest

from ate_core.errors import UsageError
from training.evaluation.find import find_evaluations
from training.evaluation.record import group, pool, read_evaluation, worst
from training.report import ReportConfig, report
from training.studies.rollout import Trial


def rollout(seed, success, **more):
    force = np.abs(np.sin(np.arange(61) / 9.0 + seed)).round(3).tolist()
    return {
        "seed": seed,
        "success": success,
        "score": 1.0 if success else 0.25 * (seed % 3),
        "duration": 3.0,
        "jerk": 10.0 + seed % 5,
        "refused": 0,
        "outcome": "success" if success else "failure",
        "path": 1.0,
        "force_peak": 5.0,
        "force_rate": 7.0,
        "stages": {"0.25": 20, "1": 60} if success else {},
        "force": force,
        **more,
    }


def sha256(weights, statistics="0"):
    return {"model.safetensors": weights * 64, "statistics.json": statistics * 64}


def document(seeds, **changes):
    policies = {
        "plain": [rollout(n, n % 3 > 0) for n in seeds],
        "guided": [rollout(n, n % 5 > 0) for n in seeds],
        "untrained": [rollout(n, False, outcome="stuck", reason="<far>") for n in seeds],
    }
    return {
        "task": "pick_place",
        "difficulty": "normal",
        "first_seed": seeds[0],
        "stop_early": False,
        "delay_ms": 0.0,
        "hashes": {"plain": sha256("a"), "guided": sha256("b")},
        "versions": {"mujoco": "4.0.0"},
        "policies": policies,
        "perturbed": {
            "disturbance": {
                name: [rollout(n, False, disturbed=2.0) for n in seeds]
                for name in ("plain", "guided")
            }
        },
        **changes,
    }


@pytest.fixture
def write(tmp_path):
    def put(name, *args, **changes):
        file = tmp_path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(document(*args, **changes)))
        return file

    return put


@pytest.mark.parametrize(
    ("before", "today"), [("rtc", "rtc_jacobian"), ("rtc_direct", "rtc"), ("synchronous",) * 2]
)
def test_chunk_modes_of_before_are_told_by_todays_names(write, tmp_path, before, today):
    old = read_evaluation(write("old.json", range(3), chunk_mode=before))
    assert old.settings["chunk_mode"] == today
    merged = tmp_path / "merged.json"
    assert report(ReportConfig(evaluations=(tmp_path / "old.json",), merged=merged)) == 0
    assert read_evaluation(merged).settings == old.settings
    new = read_evaluation(write("new.json", range(3, 6), chunk_mode=before, format=2))
    assert new.settings["chunk_mode"] == before


def test_two_machines_shares_are_pooled_and_intervals_are_of_all(write, tmp_path, capsys):
    write("a/one.json", range(1000, 1020), versions={"mujoco": "4.0.0"})
    write("b/two.json", range(1020, 1040), versions={"mujoco": "4.0.1"})
    merged = tmp_path / "all.json"
    assert report(ReportConfig(evaluations=(tmp_path,), merged=merged)) == 0
    whole = read_evaluation(merged)
    assert [t.seed for t in whole.usual["plain"]] == list(range(1000, 1040))
    assert whole.versions["mujoco"] == "4.0.0, 4.0.1"
    page = (tmp_path / "report.html").read_text()
    assert "27/40 (68 %, 95 % interval" in page
    assert "40, from 1000 to 1039" in page and page.count("<h1>") == 2


def test_a_page_is_self_contained_and_shows_all_parts(write, tmp_path):
    file = write("one.json", range(1000, 1020))
    film = tmp_path / "one_videos" / "plain_1005.mp4"
    film.parent.mkdir()
    film.write_bytes(b"film")
    report(ReportConfig(evaluations=(file,)))
    page = (tmp_path / "report.html").read_text()
    for words in ("plain against guided, same starts", "stuck: &lt;far&gt;", "disturbance"):
        assert words in page
    for words in ("alt='forces on aligned phases'", "alt='success rates", "a" * 64, "mujoco"):
        assert words in page
    assert page.count("<video") == 1 and "plain, start 1005" in page
    assert "guided / plain, where both succeeded" in page
    assert "http://" not in page and "https://" not in page and "<script" not in page


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"delay_ms": 150.0}, "delay_ms is 0.0 and 150.0"),
        ({"task": "handover"}, "task is pick_place and handover"),
        ({"new_option": 1}, "new_option is None and 1"),
        (
            {"hashes": {"plain": sha256("c"), "guided": sha256("b")}},
            ": model.safetensors of plain differ",
        ),
        (
            {"hashes": {"plain": sha256("a", "d"), "guided": sha256("b")}},
            ": statistics.json of plain differ",
        ),
        (
            {"hashes": {"plain": "a" * 64, "guided": "b" * 64}},
            "guided, statistics.json of plain differ, or have a hash in one alone",
        ),
        ({"hashes": {}}, "the weights of one have no hash"),
        ({"perturbed": {}}, "policies or perturbations differ"),
    ],
)
def test_what_differs_is_not_pooled_and_told(write, tmp_path, changes, why):
    files = write("a.json", range(1000, 1010)), write("b.json", range(1010, 1020), **changes)
    with pytest.raises(UsageError, match=why):
        pool(find_evaluations(files))
    assert len(group(find_evaluations(files))) == 2
    report(ReportConfig(evaluations=files))
    assert "Not pooled with the part before" in (tmp_path / "report.html").read_text()


def test_shares_of_cells_that_differ_in_anything_are_not_pooled(write):
    def share(number, **changes):
        seeds = range(1000 + 10 * number, 1010 + 10 * number)
        return write(f"{number}.json", seeds, cell="my_cell", **changes)

    one, other = share(0, cell_sha256="1" * 64), share(1, cell_sha256="2" * 64)
    with pytest.raises(UsageError, match="cell_sha256 is"):
        pool(find_evaluations((one, other)))
    assert pool(find_evaluations((one, share(2)))), "files of before do not tell it"


def test_what_was_stopped_early_is_never_pooled(write):
    files = [write(f"{n}.json", range(1000 + n, 1001 + n), stop_early=True) for n in (0, 1)]
    with pytest.raises(UsageError, match="stop_early chose"):
        pool(find_evaluations(files))


def test_a_start_of_two_machines_counts_once_and_is_refused_where_they_disagree(write):
    files = [write("a.json", range(1000, 1010)), write("b.json", range(1005, 1015))]
    assert len(pool(find_evaluations(files)).usual["plain"]) == 15
    other = document(range(1009, 1012))
    other["policies"]["plain"][0]["score"] = 0.5
    files[1].write_text(json.dumps(other))
    with pytest.raises(UsageError, match="plain from start 1009: score"):
        pool(find_evaluations(files))


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"policies": 3}', '{"policies": {"a": [{}]}}'])
def test_a_file_of_something_else_is_refused_by_name(tmp_path, text):
    file = tmp_path / "odd.json"
    file.write_text(text)
    with pytest.raises(UsageError, match=r"odd.json is not a whole file of `ate evaluate`"):
        find_evaluations([file])
    with pytest.raises(UsageError, match="holds no file"):
        find_evaluations([tmp_path])


def test_files_of_before_are_shown_too(tmp_path):
    trial = {"seed": 1, "success": True, "score": 1.0, "duration": 1.0, "jerk": 1.0, "refused": 0}
    file = tmp_path / "old.json"
    file.write_text(json.dumps({"task": "t", "policies": {"p": [trial]}}))
    report(ReportConfig(evaluations=(file,)))
    assert "1/1" in (tmp_path / "report.html").read_text()


def test_the_worst_failed_with_the_lowest_score():
    trials = [
        Trial(seed=n, success=n == 0, score=score, duration=1.0, jerk=0.0, refused=0)
        for n, score in enumerate((0.0, 0.5, 0.25, 0.25))
    ]
    assert [t.seed for t in worst(trials, 2)] == [2, 3]
    assert [t.seed for t in worst(trials, 9)] == [2, 3, 1]


def test_a_report_is_of_a_run_or_of_evaluations(tmp_path):
    for words in ({}, {"run": tmp_path, "evaluations": (tmp_path,)}):
        with pytest.raises(UsageError, match="give --run FOLDER"):
            ReportConfig(**words)
    with pytest.raises(UsageError, match="--merged needs"):
        ReportConfig(run=tmp_path, merged=tmp_path / "x.json")
