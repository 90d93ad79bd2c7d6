"""What `--min-score` and `--exclude` keep out of a conversion, and what is kept of an audit."""

import dataclasses
import errno
import json
import os
import shutil
import time
from pathlib import Path

import h5py
import pytest

from ate_bringup.cli import main
from ate_core.episode_outcome import OUTCOME_FILE, write_outcome
from ate_core.errors import EpisodeError, UsageError
from training.audit.gate import Gate
from training.audit.judge import rule_words, rules_version
from training.audit.stored import parse_audit
from training.convert_bags import ConvertConfig, convert, convert_episode
from training.data.episode_file import list_episodes, read_episode
from training.data.trajectory import read_trajectories


@pytest.fixture(scope="module")
def bags(studio, tmp_path_factory):
    """Two bags of noise: rules that flag speak, none refuses."""
    folder = tmp_path_factory.mktemp("gated")
    for seed in (1, 2):
        studio.record(folder, studio.messages(seconds=1.3, seed=seed))
    return folder


@pytest.fixture(scope="module")
def audited(bags, tmp_path_factory):
    """The options that made them, and their files, with audits."""
    config = ConvertConfig(bags=bags, output=tmp_path_factory.mktemp("audited"), audit=True)
    assert convert(config) == 0
    return config


@pytest.fixture
def config(bags, tmp_path):
    return ConvertConfig(bags=bags, output=tmp_path / "data")


def printed(capsys):
    return " ".join(capsys.readouterr().out.replace("│", " ").split())


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_an_audited_episode_keeps_score_findings_and_version_of_the_rules(audited):
    path = list_episodes(audited.output)[0]
    kept = json.loads(json.dumps(read_episode(path).audit, allow_nan=False))
    audit = parse_audit(kept, path.name)
    assert kept["score"] == audit.score < 100.0
    assert kept["rules"] == rules_version(rule_words())
    assert {finding.rule for finding in audit.findings} == {
        rule for rule, said in audit.verdicts.items() if said in ("flag", "refuse")
    }
    assert audit.verdicts["gaps"] != "not judged"  # made from the bag, which has receive times


def test_an_audit_does_not_change_from_run_to_run(audited, tmp_path):
    again = dataclasses.replace(audited, output=tmp_path / "again")
    convert(again)
    for one, two in zip(list_episodes(audited.output), list_episodes(again.output), strict=True):
        assert one.read_bytes() == two.read_bytes()


def test_a_score_below_the_bound_is_named_with_its_findings_and_the_episode_is_left_out(
    config, audited, capsys
):
    scores = [read_episode(path).audit["score"] for path in list_episodes(audited.output)]
    assert convert(dataclasses.replace(config, min_score=max(scores) + 0.5)) == 0
    said = printed(capsys)
    assert "2 excluded" in said and f"--min-score {max(scores) + 0.5:g}" in said
    assert names(config.output) == []
    assert convert(dataclasses.replace(config, min_score=min(scores))) == 0
    assert len(list_episodes(config.output)) == 2


def test_an_excluded_rule_is_named_with_value_and_bound(config, audited):
    found = read_episode(list_episodes(audited.output)[0]).audit["findings"][0]
    gated = dataclasses.replace(config, exclude=(found["rule"],))
    report = convert_episode(config.bags / "episode_000000", gated)
    assert report.result == "excluded"
    assert report.reason.startswith(f"--exclude {found['rule']}: ")
    assert found["message"] in report.reason


def test_an_excluded_episode_is_never_read_and_the_others_are_converted(config, capsys):
    gated = dataclasses.replace(config, exclude=("episode_000001",))
    assert convert(gated) == 0
    assert "1 converted, 0 up to date, 0 rejected, 0 set aside, 1 excluded" in printed(capsys)
    assert [path.name for path in list_episodes(config.output)] == ["episode_000000.hdf5"]


def test_what_an_earlier_conversion_made_leaves_the_set_and_comes_back(config):
    assert convert(config) == 0
    before = {path.name: path.read_bytes() for path in list_episodes(config.output)}
    gated = dataclasses.replace(config, exclude=("episode_000001",))
    report = convert_episode(config.bags / "episode_000001", gated)
    assert "earlier file is now episode_000001.hdf5.excluded" in report.reason
    assert [path.name for path in list_episodes(config.output)] == ["episode_000000.hdf5"]
    away = config.output / "episode_000001.hdf5.excluded"
    assert away.read_bytes() == before["episode_000001.hdf5"]
    assert convert(config) == 0
    assert {path.name: path.read_bytes() for path in config.output.iterdir()} == before


def test_a_gate_looks_at_the_audit_that_is_there_already(audited, monkeypatch):
    monkeypatch.setattr("training.convert_bags.read_episode_bag", None)  # would fail
    report = convert_episode(audited.bags / "episode_000000", audited)
    assert report.result == "up to date"


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"min_score": 101.0}, "0..100"),
        ({"min_score": float("nan")}, "0..100"),
        ({"exclude": ("idel",)}, "did you mean idle"),
        ({"exclude": ("episode_3",)}, "neither an episode"),
        ({"exclude": ("outlier",)}, "compares an episode with its set"),
        ({"exclude": ("episode_000007",)}, "no such episode"),
    ],
)
def test_a_gate_that_cannot_be_meant_is_refused(config, options, told):
    with pytest.raises(UsageError, match=told):
        convert(dataclasses.replace(config, **options))


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"max_state_age": 200.0}, r"--max-state-age is 200.* Is it in ms\? 200 ms are 0\.2 s"),
        ({"max_image_age": float("nan")}, "--max-image-age is nan s; need 0.001 to 10 s"),
        ({"max_object_age": float("inf")}, "--max-object-age is inf s"),
        ({"max_late_start": -1.0}, "--max-late-start is -1.0 s; need 0 to 60 s"),
        ({"min_seconds": -5.0}, "--min-seconds is -5.0 s; need 0 to 3600 s"),
        ({"min_seconds": float("nan")}, "--min-seconds is nan"),
    ],
)
def test_a_bound_that_cannot_be_meant_is_refused_with_the_unit(tmp_path, options, told):
    with pytest.raises(UsageError, match=told):
        ConvertConfig(bags=tmp_path, output=tmp_path, **options)


def test_a_gate_says_itself_as_options():
    assert str(Gate(min_score=70.0, exclude=("idle",))) == "--min-score 70 --exclude idle"
    assert str(Gate()) == ""


def test_an_episode_that_is_rejected_by_now_leaves_no_earlier_file_behind(studio, tmp_path):
    folder = studio.record(tmp_path / "bags", studio.messages(seconds=1.3, seed=1))
    config = ConvertConfig(bags=folder, output=tmp_path / "data")
    assert convert(config) == 0
    outcome = folder / OUTCOME_FILE
    before = outcome.read_text()
    outcome.write_text(json.dumps({**json.loads(before), "outcome": "failure"}))
    report = convert_episode(folder, config)
    assert report.result == "rejected" and report.reason.startswith("outcome is failure")
    assert "its earlier file is now episode_000000.hdf5.excluded" in report.reason
    with pytest.raises(EpisodeError, match=r"holds no episode_\*.hdf5"):
        list_episodes(config.output)
    outcome.write_text(before)
    assert convert_episode(folder, config).result == "converted"
    assert [path.name for path in config.output.glob("episode*")] == ["episode_000000.hdf5"]


@pytest.fixture(scope="module")
def converted(bags, tmp_path_factory):
    """A folder with two bags and the files that were made of them."""
    folder = tmp_path_factory.mktemp("converted")
    shutil.copytree(bags, folder / "bags")
    assert convert(ConvertConfig(bags=bags, output=folder / "data")) == 0
    return folder


@pytest.fixture
def own(converted, tmp_path, in_this_process):
    """The options that made a copy of them."""
    shutil.copytree(converted, tmp_path, dirs_exist_ok=True)
    return ConvertConfig(bags=tmp_path / "bags", output=tmp_path / "data")


def trained(config):
    return [one.name[8:14] for one in read_trajectories(config.output)]


def test_an_episode_whose_bag_was_discarded_leaves_the_set_and_comes_back(own, capsys):
    before = names(own.output)
    assert main(["episode", "discard", "--episode", "1", "--bags", str(own.bags)]) == 0
    capsys.readouterr()
    assert convert(own) == 0
    told = printed(capsys)
    assert "its bag was discarded" in told and "1 up to date" in told and "1 excluded" in told
    assert trained(own) == ["000000"]
    assert (own.output / "episode_000001.hdf5.excluded").is_file()
    assert convert(own) == 0
    assert "excluded" not in printed(capsys), "it is told once"
    assert main(["episodes", "restore", str(own.bags), "1"]) == 0
    assert main(["episodes", "label", str(own.bags), "1", "--text", "success"]) == 0
    assert convert(own) == 0
    assert names(own.output) == before and trained(own) == ["000000", "000001"]


def test_where_every_bag_was_discarded_nothing_is_left_to_train_on(own):
    assert main(["episodes", "delete", str(own.bags), "0", "1"]) == 0
    with pytest.raises(EpisodeError, match="holds discarded episodes only"):
        convert(own)
    assert names(own.output) == ["episode_000000.hdf5.excluded", "episode_000001.hdf5.excluded"]


def test_a_discarded_bag_moves_no_file_of_another_session_nor_of_a_bag_elsewhere(own, tmp_path):
    elsewhere = tmp_path / "archive"
    elsewhere.mkdir()
    (own.bags / "episode_000000").rename(elsewhere / "episode_000000")
    assert convert(own) == 0 and trained(own) == ["000000", "000001"]
    (own.bags / "episode_000001").rename(own.bags / "episode_000000.discarded")
    (own.output / "episode_000001.hdf5").rename(own.output / "episode_000000.hdf5")
    with h5py.File(own.output / "episode_000000.hdf5", "r+") as file:
        file["/timestamps_ns"][...] += 86_400 * 10**9
    with pytest.raises(EpisodeError, match="discarded episodes only"):
        convert(own)
    assert trained(own) == ["000000"]


@pytest.mark.parametrize("keep_failures", [False, True])
def test_what_was_cut_out_of_an_episode_follows_the_label_of_its_bag(own, capsys, keep_failures):
    assert main(["episodes", "split", str(own.output), "0", "--at", "10"]) == 0
    assert main(["episodes", "merge", str(own.output), "500000", "500001"]) == 0
    assert trained(own) == ["000001", "500002"]
    write_outcome(own.bags / "episode_000000", "failure", "", time.time_ns())
    judged = dataclasses.replace(own, keep_failures=keep_failures)
    capsys.readouterr()
    assert convert(judged) == (0 if keep_failures else 1)
    told = printed(capsys)
    assert "episode_500002.hdf5, made of it," in told
    assert ("labelled failure" if keep_failures else "outcome is failure") in told
    assert trained(own) == ["000001"]
    assert convert(judged) == 0 and "made of it" not in printed(capsys), "it is told once"


def test_a_part_that_was_labelled_since_its_bag_stays(own, capsys):
    assert main(["episodes", "split", str(own.output), "0", "--at", "10"]) == 0
    write_outcome(own.bags / "episode_000000", "failure", "", time.time_ns())
    assert main(["episodes", "label", str(own.output), "500001", "--text", "success"]) == 0
    assert convert(own) == 1
    assert trained(own) == ["000001", "500001"]


def test_parts_keep_what_was_decided_of_the_whole_before_it_was_cut(own, capsys):
    assert main(["episodes", "label", str(own.output), "0", "--text", "failure"]) == 0
    assert main(["episodes", "split", str(own.output), "0", "--at", "10"]) == 0
    assert trained(own) == ["000001"]
    assert convert(own) == 0
    assert trained(own) == ["000001"]


def test_parts_follow_every_later_judgement_of_their_bag(own, capsys):
    judged, bag = dataclasses.replace(own, keep_failures=True), own.bags / "episode_000000"
    assert main(["episodes", "split", str(own.output), "0", "--at", "10"]) == 0
    for label, left in (("failure", []), ("success", ["500000", "500001"]), ("failure", [])):
        write_outcome(bag, label, "", time.time_ns())
        assert convert(judged) == 0
        assert trained(own) == ["000001", *left], label


def test_the_parts_of_a_discarded_bag_are_set_aside(own, capsys):
    assert main(["episodes", "split", str(own.output), "0", "--at", "10"]) == 0
    assert main(["episodes", "delete", str(own.bags), "0"]) == 0
    capsys.readouterr()
    assert convert(own) == 0
    told = printed(capsys)
    assert "its bag was discarded; episode_500000.hdf5, episode_500001.hdf5, made of it," in told
    assert trained(own) == ["000001"]


def test_the_journal_is_read_once_however_many_bags_there_are(own, monkeypatch):
    from training import convert_bags

    assert main(["episodes", "split", str(own.output), "0", "--at", "10"]) == 0
    assert main(["episodes", "split", str(own.output), "1", "--at", "10"]) == 0
    reads, read = [], convert_bags.read_journal
    monkeypatch.setattr(convert_bags, "read_journal", lambda f: reads.append(f) or read(f))
    write_outcome(own.bags / "episode_000001", "failure", "", time.time_ns())
    assert convert(own) == 1
    assert reads == [own.output] and trained(own) == ["500000", "500001"]


def test_what_a_disk_refused_is_not_hidden_by_a_look_for_other_bags(own, monkeypatch):
    from training import convert_bags

    def refuse(number):
        def refused(*_):
            raise OSError(number, os.strerror(number))

        return refused

    monkeypatch.setattr(convert_bags, "_finished", refuse(errno.ENOSPC))
    monkeypatch.setattr(Path, "rglob", refuse(errno.EIO))
    with pytest.raises(OSError, match="No space left"):
        convert(own)


def test_no_episode_of_another_recording_is_replaced_that_was_not_seen_at_first(
    own, monkeypatch, capsys
):
    from training import convert_bags

    file = own.output / "episode_000000.hdf5"
    with h5py.File(file, "r+") as content:
        content["/timestamps_ns"][...] += 86_400 * 10**9
        content.attrs["source_sha256"] = "another"
    before = file.read_bytes()
    monkeypatch.setattr(convert_bags, "_refuse_others", lambda *_: None)
    report = convert_bags.convert_episode(own.bags / "episode_000000", own)
    assert report.result == "rejected" and "is of another recording" in report.reason
    assert file.read_bytes() == before
    monkeypatch.setattr(convert_bags, "read_recording", lambda _: None)
    report = convert_bags.convert_episode(own.bags / "episode_000000", own)
    assert report.result == "rejected" and "does not give its first message" in report.reason
    assert file.read_bytes() == before


def test_a_label_that_cannot_be_read_for_a_moment_moves_no_part(own, monkeypatch, capsys):
    assert main(["episodes", "split", str(own.output), "0", "--at", "10"]) == 0
    write_outcome(own.bags / "episode_000000", "failure", "", time.time_ns())
    assert main(["episodes", "label", str(own.output), "500000", "--text", "success"]) == 0
    read = Path.read_text

    def errs(path, *words, **options):
        if path.name == "episode_500000.outcome.json":
            raise OSError(errno.EIO, "Input/output error")
        return read(path, *words, **options)

    with monkeypatch.context() as moment:
        moment.setattr(Path, "read_text", errs)
        assert convert(own) == 1
    assert trained(own) == ["000001", "500000", "500001"]
