"""Mapping files: what a wrong one is told, and what is proposed from names."""

import dataclasses
import math
from pathlib import Path

import numpy as np
import pytest

from ate_core.errors import AteError, ContractError, EpisodeError, UsageError
from training.foreign.importer import make_importer, open_recordings
from training.foreign.mapping import read_mapping
from training.foreign.proposal import propose
from training.foreign.vectors import map_vector, require_alike
from training.import_recordings import ImportConfig, import_episode
from training.propose_mapping import MappingConfig, propose_mapping

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def folder(tmp_path_factory, others):
    return others.write_v2(tmp_path_factory.mktemp("recordings") / "set", lengths=(24,))


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("left_joint3,", "left_jiont3,", "no column 'left_jiont3'.*did you mean left_joint3"),
        ("left_joint3,", "left_joint2,", "'left_joint2' twice"),
        ("left_joint3,", "", "left_arm names 6 columns, the field has 7"),
        ("left_joint3,", "'action[99]',", r"no column 'action\[99\]'"),
        ("right_gripper: {", "right_hand: {", "field 'right_hand'.*did you mean"),
        (
            "    right_gripper: {columns: [right_gripper], unit: ratio}\n",
            "",
            "lacks right_gripper",
        ),
        ("unit: ratio}", "unit: rad}", "left_gripper.unit is rad; need ratio"),
        ("unit: ratio}", "unit: degrees}", "unit is 'degrees'; need one of rad, deg, ratio"),
        ("unit: ratio}", "unit: ratio, closed: 1}", "closed and open are both 1"),
        ("unit: ratio}", "unit: ratio, sign: [-1]}", "swap closed and open instead"),
        ("joint7]}", "joint7], sign: [1, -1]}", "sign is .* need 1 or -1 for each of 7"),
        ("cam_high:", "cam_hihg:", "cam_hihg is no camera of the cell.*did you mean cam_high"),
        ("images.top", "images.tpo", "no images 'observation.images.tpo'.*did you mean"),
        ("feature: action,", "feature: actions,", "no feature 'actions'.*did you mean action"),
        ("action_is: target", "action_is: next_state", "action is given: leave it out"),
        ("action_is: target", "action_is: next", "action_is is 'next'; need one of target"),
        ("body: Two Arms", "body: A\nrate: 30", "rate is 30.0, the recordings say 20.0: leave"),
        ("body: Two Arms", "body: A\nbody: B", "the key 'body' of line 2 is there again"),
        ("body: Two Arms", "body: A\nsigns: 1", "unknown key 'signs'"),
    ],
)
def test_a_wrong_mapping_is_refused_with_its_remedy(
    tmp_path, folder, cell, others, old, new, message
):
    assert old in others.mapping
    file = tmp_path / "mapping.yaml"
    file.write_text(others.mapping.replace(old, new))
    with pytest.raises(ContractError, match=message) as refusal:
        make_importer(folder, read_mapping(file), cell)
    assert "\n" not in str(refusal.value)


@pytest.fixture
def state_map(tmp_path, cell, others):
    """The map of the state for a mapping with one change."""

    def state_map(old="", new=""):
        file = tmp_path / "mapping.yaml"
        file.write_text(others.mapping.replace(old, new) if old else others.mapping)
        there = {"observation.state": others.names, "action": others.names}
        return map_vector("state", read_mapping(file).state, there, cell.layout.state)

    return state_map


def test_signs_degrees_and_gripper_ends_are_applied(state_map):
    rows = np.zeros((2, 16))
    rows[:, 0], rows[:, 7] = 90.0, 0.25
    signed = state_map("left_joint7]}", "left_joint7], unit: deg, sign: [-1, 1, 1, 1, 1, 1, 1]}")
    assert signed.apply({"observation.state": rows})[0, 0] == pytest.approx(-math.pi / 2)
    turned = state_map("[left_gripper], unit: ratio", "[left_gripper], unit: ratio, open: -1")
    rows[:, 0], rows[:, 7] = 0.0, -0.25
    assert turned.apply({"observation.state": rows})[0, 7] == pytest.approx(0.25)


def test_several_fingers_are_averaged(state_map):
    rows = np.zeros((2, 16))
    rows[:, 7], rows[:, 6] = 0.8, 0.4
    fingers = state_map(
        "left_joint7]}\n    left_gripper: {columns: [left_gripper]",
        "null]}\n    left_gripper: {columns: [left_gripper, left_joint7]",
    )
    assert fingers.apply({"observation.state": rows})[0, 7] == pytest.approx(0.6)


def test_values_that_belie_their_unit_are_refused(state_map):
    rows = np.zeros((2, 16))
    rows[1, 2] = 45.0
    with pytest.raises(EpisodeError, match=r"left_joint3 reaches 45, beyond 2 pi.*unit: deg"):
        state_map().apply({"observation.state": rows})
    rows[1, 2] = 1.0
    with pytest.raises(EpisodeError, match=r"no joint leaves 1, .*degrees: say unit: rad"):
        state_map("left_joint7]}", "left_joint7], unit: deg}").apply({"observation.state": rows})
    rows[1, 7] = 0.045 * 100
    with pytest.raises(EpisodeError, match=r"left_gripper goes from 0 to 4.5 of its range"):
        state_map().apply({"observation.state": rows})


def test_an_action_in_another_joint_order_is_refused(cell):
    states = np.zeros((30, 16))
    states[:, 0], states[:, 3] = 0.1, 1.4
    actions = states[:, [3, 1, 2, 0, *range(4, 16)]]
    with pytest.raises(EpisodeError, match=r"left_arm_1 is 1.30 rad from its state"):
        require_alike(states, actions, cell.layout.action)
    require_alike(states, states + 0.05, cell.layout.action)


@pytest.mark.parametrize("meaning", ["change", "next_state"])
def test_changes_and_next_states_become_targets(tmp_path, others, cell, meaning):
    from training.data.episode_file import read_episode

    folder = others.write_v2(tmp_path / "set", lengths=(24,))
    rows = others.motion(24)
    name = "chunk-000/episode_000000.parquet"
    change = np.diff(rows, axis=0, append=rows[-1:])
    change[:, [7, 15]] = rows[:, [7, 15]]  # grippers stay absolute
    others.table(folder / "data" / name, {0: rows}, commanded=change)
    text = others.mapping.replace("action_is: target", f"action_is: {meaning}")
    if meaning == "next_state":
        text = text.replace("action: {feature: action, fields: *fields}\n", "")
    (tmp_path / "mapping.yaml").write_text(text)
    importer = make_importer(folder, read_mapping(tmp_path / "mapping.yaml"), cell)
    config = ImportConfig(recordings=folder, mapping=tmp_path / "mapping.yaml", output=tmp_path)
    report = import_episode(importer, 0, config)
    assert (report.result, report.reason) == ("imported", "")
    action = read_episode(tmp_path / report.file).action
    joints = list(cell.layout.action.columns("rad"))
    ahead = min(len(action), 23)
    np.testing.assert_allclose(action[:ahead, joints], rows[1 : ahead + 1, joints], atol=1e-6)


def test_a_proposal_from_names_is_complete(tmp_path, folder, cell, others):
    file = tmp_path / "mapping.yaml"
    file.write_text(propose(open_recordings(folder), cell).text)
    importer = make_importer(folder, read_mapping(file), cell)
    rows = np.tile(np.arange(16) / 16.0, (2, 1))
    mapped = importer.state.apply({"observation.state": rows, "action": rows})
    np.testing.assert_allclose(mapped[0], rows[0])
    assert importer.mapping.cameras["cam_high"].feature == others.camera


def test_a_proposal_for_aloha_goes_by_place_and_names_what_it_guesses(tmp_path, cell, others):
    proposal = propose(open_recordings(others.write_aloha(tmp_path / "set")), cell)
    (tmp_path / "mapping.yaml").write_text(proposal.text)
    mapping = read_mapping(tmp_path / "mapping.yaml")
    assert mapping.state.fields["right_arm"].columns == (*map(str, range(7, 13)), None)
    assert mapping.state.fields["right_gripper"].columns == ("13",)
    assert mapping.rate == 50.0
    assert any("50 Hz" in doubt for doubt in proposal.doubts)
    assert any("6 of 7 joints" in doubt for doubt in proposal.doubts)


def test_a_proposal_sees_degrees_and_the_ends_of_grippers(tmp_path, cell, others):
    folder = others.write_v2(tmp_path / "set", lengths=(24,))
    rows = others.motion(24) * 200.0
    others.table(folder / "data" / "chunk-000" / "episode_000000.parquet", {0: rows})
    proposal = propose(open_recordings(folder), cell)
    (tmp_path / "mapping.yaml").write_text(proposal.text)
    fields = read_mapping(tmp_path / "mapping.yaml").state.fields
    assert fields["left_arm"].unit == "deg"
    assert fields["left_gripper"].open == pytest.approx(rows[:, 7].max(), rel=1e-5)
    assert any("which end is open" in doubt for doubt in proposal.doubts)


def test_a_proposal_never_replaces_a_mapping(tmp_path, folder, capsys):
    config = MappingConfig(recordings=folder, output=tmp_path / "mapping.yaml")
    assert propose_mapping(config) == 0
    assert "check: " in capsys.readouterr().err
    with pytest.raises(UsageError, match="is there already"):
        propose_mapping(config)
    assert propose_mapping(dataclasses.replace(config, output=None)) == 0
    assert "action_is: target" in capsys.readouterr().out


def test_folders_without_recordings_are_refused_in_one_line(tmp_path):
    for content in (
        None,
        "no json",
        '{"codebase_version": "v1.6"}',
        '{"codebase_version": "v3.0"}',
    ):
        if content is not None:
            (tmp_path / "meta").mkdir(exist_ok=True)
            (tmp_path / "meta" / "info.json").write_text(content)
        with pytest.raises(AteError) as refusal:
            open_recordings(tmp_path)
        assert str(tmp_path) in str(refusal.value) and "\n" not in str(refusal.value)


def test_the_mapping_of_the_page_is_one(tmp_path, cell):
    page = (ROOT / "docs" / "foreign_data.md").read_text()
    file = tmp_path / "mapping.yaml"
    file.write_text(page.split("```yaml\n")[1].split("```")[0])
    mapping = read_mapping(file)
    arms = [f"{side}{n}" for side in "lr" for n in range(1, 7)]
    there = {mapping.state.feature: (*arms, "l_grip", "r_grip")}
    state = map_vector("state", mapping.state, there, cell.layout.state)
    assert state.weights[1].sum() == pytest.approx(-math.pi / 180)
