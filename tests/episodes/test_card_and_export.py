"""A set given away: copies numbered anew, and a card that says what is in it."""

import json
import shutil

import h5py
import numpy as np
import pytest
import yaml

from training.audit.command import AuditConfig, audit
from training.data.episode_file import list_episodes, read_episode, write_episode
from training.data.summaries import read_summary
from training.data.trajectory import read_trajectories


def card_of(ate, folder, *words):
    code, said = ate("card", folder, "--json", *words)
    assert code == 0, said
    return json.loads(said)


def test_the_card_counts_what_is_there(folder, ate, make):
    other = make(4, task="pour", operator="Grace", ticks=60)
    write_episode(folder / "episode_000004.hdf5", other)
    ate("label", folder, 3, "--text", "failure")
    card = card_of(ate, folder, "--license", "CC-BY-4.0")
    assert card["episodes"] == 5 and card["ticks"] == 180
    assert card["hours"] == pytest.approx(180 / 20 / 3600)
    assert card["outcomes"] == {"failure": 1, "success": 4}
    assert {k: v["episodes"] for k, v in card["tasks"].items()} == {"pour": 1, "reach": 4}
    assert {k: v["episodes"] for k, v in card["operators"].items()} == {"Ada": 4, "Grace": 1}
    assert card["cameras"]["cam_high"]["pictures"] == 180
    assert card["license"] == "CC-BY-4.0"
    (contract,) = card["contracts"].items()
    assert contract == (
        other.cell.sha256,
        {
            "cell": other.cell.name,
            "body": "simulated",
            "layout": other.cell.layout.sha256,
            "episodes": 5,
        },
    )
    assert card["audit"]["audited"] == 0


def test_the_statistics_of_the_card_are_those_that_training_uses(folder, ate):
    from ate_policy.models.interface import PolicyConfig
    from training.data.dataset import gather

    card = card_of(ate, folder)
    data = gather(read_trajectories(folder), PolicyConfig(horizon=5))
    trained = data.statistics().state
    rows = data.states.numpy().astype(np.float64)
    names = list_names(folder)
    for index, name in enumerate(names):
        column = card["statistics"][f"state {name}"]
        assert column["mean"] == trained.mean[index]  # to the bit
        assert column["std"] == pytest.approx(rows[:, index].std(), rel=1e-9)
        spread = rows[:, index].max() - rows[:, index].min()
        for level in (0.01, 0.5, 0.99):
            exact = np.quantile(rows[:, index], level)
            assert column[f"q{round(100 * level):02}"] == pytest.approx(exact, abs=0.05 * spread)


def list_names(folder):
    return read_episode(list_episodes(folder)[0]).cell.layout.state.names


def test_the_card_for_people_has_a_head_that_machines_read(folder, ate):
    code, said = ate("card", folder)
    assert code == 0
    head = yaml.safe_load(said.split("---")[1])
    assert head["license"] == "unknown" and "robotics" in head["tags"]
    assert "| reach | 4 |" in said and "state left_arm_1" in said


def test_the_hash_of_a_set_is_of_its_bytes_and_labels_and_of_nothing_else(folder, ate, make):
    before = card_of(ate, folder)["sha256"]
    list_episodes(folder)[0].rename(folder / "episode_000009.hdf5")
    assert card_of(ate, folder)["sha256"] == before
    ate("label", folder, 1, "--text", "failure")
    labelled = card_of(ate, folder)["sha256"]
    assert labelled != before
    ate("undo", folder)
    assert card_of(ate, folder)["sha256"] == before
    write_episode(folder / "episode_000002.hdf5", make(8))
    assert card_of(ate, folder)["sha256"] != before


def test_an_export_holds_the_same_bytes_numbered_from_0_and_its_card(folder, tmp_path, ate):
    ate("label", folder, 1, "--text", "failure")
    ate("delete", folder, 2)
    kept = [path.read_bytes() for path in (list_episodes(folder)[i] for i in (0, 2))]
    output = tmp_path / "given"
    code, said = ate("export", folder, "--output", output, "--license", "CC0-1.0")
    assert code == 0, said
    assert "outcome is failure" in " ".join(said.split())
    assert "2 exported" in said and "1 left out" in said
    assert [path.read_bytes() for path in list_episodes(output)] == kept
    card = json.loads((output / "card.json").read_text())
    assert card == card_of(ate, output, "--license", "CC0-1.0")
    assert (output / "README.md").read_text().startswith('---\nlicense: "CC0-1.0"')
    assert all(read_summary(path) is not None for path in list_episodes(output))


def test_labels_given_later_are_exported_with_their_episodes(folder, tmp_path, ate):
    ate("label", folder, 1, "--text", "failure")
    ate("export", folder, "--output", tmp_path / "all", "--outcome", "")
    outcomes = [read_episode(path).outcome for path in list_episodes(tmp_path / "all")]
    assert outcomes == ["success", "failure", "success", "success"]


def test_audits_go_along_so_that_gates_work_on_the_export(folder, tmp_path, ate):
    audit(AuditConfig(bags=folder))
    code, said = ate(
        "export", folder, "--output", tmp_path / "given", "--exclude", "episode_000000"
    )
    assert code == 0 and "named by --exclude" in " ".join(said.split())
    scores = [
        one["score"] for one in json.loads((tmp_path / "given/card.json").read_text())["files"]
    ]
    assert len(scores) == 3 and None not in scores


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--min-score", "5"), "was never audited as it is now"),
        (("--exclude", "episode_000009"), "no such episode"),
        (("--exclude", "idel"), "did you mean idle"),
        (("--outcome", "spilled"), "no episode of"),
    ],
)
def test_an_export_that_cannot_be_made_is_refused_and_leaves_nothing(
    folder, tmp_path, ate, words, told
):
    code, said = ate("export", folder, "--output", tmp_path / "given", *words)
    assert code != 0 and told in said
    assert not (tmp_path / "given").exists()


def test_a_damaged_episode_is_rejected_by_name_and_the_others_are_exported(folder, tmp_path, ate):
    list_episodes(folder)[1].write_bytes(b"no HDF5")
    code, said = ate("export", folder, "--output", tmp_path / "given")
    assert code == 1 and "3 exported, 0 up to date, 1 rejected" in said
    assert len(list_episodes(tmp_path / "given")) == 3


def test_a_full_disk_leaves_no_export_behind(folder, tmp_path, ate, monkeypatch):
    real, left = shutil.copyfile, [2]

    def full(source, target):
        if not left[0]:
            raise OSError(28, "No space left on device", "given")
        left[0] -= 1
        return real(source, target)

    monkeypatch.setattr("shutil.copyfile", full)
    code, said = ate("export", folder, "--output", tmp_path / "given")
    assert code == 1 and "given is not made (No space left on device)" in said
    assert [path.name for path in tmp_path.iterdir()] == ["set"]


def test_an_output_that_is_there_is_replaced_only_on_purpose(folder, tmp_path, ate):
    output = tmp_path / "given"
    ate("export", folder, "--output", output)
    assert ate("export", folder, "--output", output)[0] == 1
    ate("delete", folder, 0)
    assert ate("export", folder, "--output", output, "--overwrite")[0] == 0
    assert len(list_episodes(output)) == 3


@pytest.mark.parametrize("place", [".", ".."])
def test_an_export_never_replaces_the_episodes_it_is_made_of(folder, ate, content, place):
    before = content(folder)
    (folder.parent / "card.json").write_text("{}")
    (folder / "card.json").write_text("{}")
    code, said = ate("export", folder, "--output", folder / place, "--overwrite")
    assert code == 1 and "holds the episodes themselves" in said
    (folder / "card.json").unlink()
    assert {k: v for k, v in content(folder).items() if "/" not in k} == before


def test_a_folder_that_is_no_export_is_not_replaced(folder, tmp_path, ate):
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter.tex").write_text("words")
    code, said = ate("export", folder, "--output", tmp_path / "thesis", "--overwrite")
    assert code == 1 and "is no export and is not replaced" in said
    assert (tmp_path / "thesis" / "chapter.tex").read_text() == "words"


@pytest.mark.parametrize(
    "name", ["episode_000007.hdf5", "episode_500000.hdf5", "episode_000001/episode_000001_0.mcap"]
)
def test_an_export_that_holds_more_than_its_card_says_is_not_replaced(folder, tmp_path, ate, name):
    output = tmp_path / "given"
    ate("export", folder, "--output", output)
    (output / name).parent.mkdir(exist_ok=True)
    (output / name).write_text("precious")
    code, said = ate("export", folder, "--output", output, "--overwrite")
    assert code == 1 and f"{name.partition('/')[0]} is not of that export" in " ".join(
        said.split()
    )
    assert (output / name).read_text() == "precious"


@pytest.mark.parametrize("text", ["", "[]", "{", "null"])
def test_an_episode_with_a_damaged_attribute_is_named_and_rejected(folder, tmp_path, ate, text):
    with h5py.File(list_episodes(folder)[0], "a") as file:
        file.attrs["audit"] = text
    code, said = ate("export", folder, "--output", tmp_path / "given")
    assert code == 1 and "attribute audit is damaged" in " ".join(said.split())
