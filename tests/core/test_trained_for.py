"""What a checkpoint was trained on is compared with the cell before anything moves."""

from dataclasses import replace

import pytest
import yaml

from ate_core.contract import load_cell
from ate_core.errors import CheckpointError
from ate_core.trained_for import (
    TrainedOn,
    findings,
    free_start,
    known_starts,
    mixed,
    objects_of,
    picture_finding,
    starts_by_task,
    tasks_of,
)

CAMERAS = ("cam_high", "cam_left_wrist", "cam_right_wrist")


@pytest.fixture(scope="module")
def cell():
    return load_cell(None, "sim")


def spread(cell, low, high):
    """Statistics that reach from one share of each range to another; grippers from 0 to 1."""
    arms = [*cell.arms["left"].home, 0.5, *cell.arms["right"].home, 0.5]
    return {"q01": [value + low for value in arms], "q99": [value + high for value in arms]}


@pytest.fixture
def trained(cell):
    return TrainedOn(
        cell=cell,
        cameras=CAMERAS,
        norms={name: spread(cell, -0.3, 0.3) for name in ("state", "actions")},
        language=True,
        instructions=("put the red cube into the blue bowl", "stack the cubes"),
    )


def with_cameras(cell, **changes):
    """The cell, with fields of some cameras changed by role."""
    cameras = {
        role: replace(camera, **changes.get(role, {})) for role, camera in cell.cameras.items()
    }
    return replace(cell, cameras=cameras)


def told(trained, cell, instruction="stack the cubes"):
    return [(finding.status, finding.text) for finding in findings(trained, cell, instruction)]


def test_imported_weights_drive_only_when_they_were_fine_tuned(trained, cell):
    because = ["state left_arm_3 rested in pre-training", "another chunk"]
    norms = {name: dict(norm) for name, norm in trained.norms.items()}
    parts = (cell.canonical_text(), {"cameras": CAMERAS}, {"norm_stats": norms})
    read = TrainedOn.read(*parts, {"fine_tune_first": because})
    ((status, text),) = told(read, cell)
    assert status == "fail" and text.startswith("imported weights: state left_arm_3 rested")
    assert "another chunk: fine-tune them on episodes of this cell first" in text
    assert not [status for status, _ in told(TrainedOn.read(*parts, {}), cell) if status == "fail"]
    with pytest.raises(CheckpointError, match="damaged"):
        TrainedOn.read(*parts, {"fine_tune_first": 3})


def test_starts_that_were_demonstrated_are_named_with_one_that_was_not():
    training = {"seeds": [0, 1, 2, 3, 4, 5, 1002]}
    assert known_starts(training, range(6, 1002)) == ""
    assert known_starts(training, range(4, 8)) == (
        "2 of 4 starts were demonstrated in training (seeds 4, 5)"
    )
    assert "(seeds 0, 1, 2, 3, 4, ...)" in known_starts(training, range(100))
    assert free_start(training) == 2000 and free_start({}) == 1000
    assert known_starts({}, range(100)) == ""


def test_starts_that_what_it_started_from_knew_count_in_the_same_task():
    first = {"task": "lift, stack", "seeds": [7, 1500]}
    second = {"task": "turn", "seeds": [1], "seeds_before": starts_by_task(first)}
    third = {"task": "lift", "seeds": [2], "seeds_before": starts_by_task(second)}
    assert starts_by_task(third) == {"lift, stack": [7, 1500], "turn": [1], "lift": [2]}
    assert "(seeds 2, 7)" in known_starts(third, range(10)) and free_start(third) == 2000
    assert "(seeds 1)" in known_starts(second, range(10)) and free_start(second) == 1000


def test_a_policy_of_several_tasks_has_each_of_them():
    assert tasks_of({"task": "lift, stack"}) == ("lift", "stack")
    assert objects_of({"object_names": ["bun", "plate"]}) == ("bun", "plate")
    assert objects_of({}) == ()
    assert tasks_of({"task": ""}) == tasks_of({"task": None}) == tasks_of({}) == ()


def test_the_cell_it_was_trained_for_is_taken_without_a_word(trained, cell):
    assert told(trained, cell) == []


def test_exchanged_serials_of_cameras_are_refused_by_name(trained, cell):
    other = with_cameras(
        cell, left_wrist={"serial": "right_wrist"}, right_wrist={"serial": "left_wrist"}
    )
    ((status, text),) = told(trained, other)
    assert status == "fail"
    assert "cam_left_wrist and cam_right_wrist" in text and "exchange them" in text


def test_exchanged_names_of_cameras_are_refused_as_exchanged_serials_are(trained, cell):
    other = with_cameras(cell, overhead={"key": "cam_left_wrist"}, left_wrist={"key": "cam_high"})
    assert told(trained, other)[0][0] == "fail"


def test_another_camera_in_the_place_of_one_is_told(trained, cell):
    ((status, text),) = told(trained, with_cameras(cell, overhead={"serial": "new"}))
    assert status == "warn" and "'new', the policy learned with 'overhead'" in text


@pytest.mark.parametrize(
    ("width", "height", "words"),
    [(640, 480, "another aspect"), (480, 480, "another aspect"), (960, 540, "details differ")],
)
def test_another_aspect_or_resolution_is_told_with_both_sizes(width, height, words, trained, cell):
    size = {"width": width, "height": height}
    ((status, text),) = told(trained, with_cameras(cell, overhead=size))
    assert status == "warn" and words in text
    assert f"{width}x{height}" in text and "480x270" in text


@pytest.mark.parametrize(("width", "height", "odd"), [(960, 540, False), (640, 480, True)])
def test_the_aspect_of_the_pictures_that_really_come_is_told(width, height, odd, trained):
    finding = picture_finding(trained, "cam_high", width, height)
    assert (finding is not None) == odd
    assert picture_finding(trained, "cam_elsewhere", width, height) is None


def test_a_missing_camera_is_refused_with_those_there_are(trained, cell):
    cameras = {role: camera for role, camera in cell.cameras.items() if role != "overhead"}
    ((status, text),) = told(trained, replace(cell, cameras=cameras))
    assert status == "fail" and "cam_high" in text and "cam_left_wrist, cam_right_wrist" in text


def test_a_policy_without_cameras_minds_no_camera(trained, cell):
    other = with_cameras(cell, overhead={"serial": "new", "width": 640, "height": 480})
    assert told(replace(trained, cameras=()), other) == []


@pytest.mark.parametrize("name", ["state", "actions"])
def test_statistics_in_degrees_are_refused_as_such(name, trained, cell):
    degrees = spread(cell, -0.3, 0.3)
    for key, values in degrees.items():
        arms = [57.29578 * value for value in values]
        degrees[key] = [*arms[:7], values[7], *arms[8:15], values[15]]
    ((status, text),) = told(replace(trained, norms={**trained.norms, name: degrees}), cell)
    assert status == "fail" and f"statistics of {name}" in text and "look like degrees" in text


@pytest.mark.parametrize("name", ["state", "actions"])
def test_statistics_in_turns_are_refused_as_such(name, trained, cell):
    turns = {
        key: [
            value if column in (7, 15) else value / 6.2831853 for column, value in enumerate(row)
        ]
        for key, row in spread(cell, -0.3, 0.3).items()
    }
    ((status, text),) = told(replace(trained, norms={**trained.norms, name: turns}), cell)
    assert status == "fail" and f"statistics of {name}" in text and "look like turns" in text


def test_statistics_that_are_wider_than_a_turn_allows_are_no_turns(trained, cell):
    state = {"q01": [*[-1.0] * 7, 0.0] * 2, "q99": [1.0] * 16}
    ((status, text),) = told(replace(trained, norms={"state": state}), cell)
    assert status == "warn" and "turns" not in text


@pytest.mark.parametrize(("away", "said"), [(0.34, False), (0.36, True)])
def test_episodes_that_began_far_from_home_are_told(away, said, trained, cell):
    state = spread(cell, -0.3, 0.3)
    state["q01"][9] = cell.arms["right"].home[1] + away
    state["q99"][9] = state["q01"][9] + 0.2
    found = told(replace(trained, norms={"state": state}), cell)
    assert [status for status, _ in found] == ["warn"] * said
    assert all("right_arm_2 spans" in text and "at home it is" in text for _, text in found)


@pytest.mark.parametrize(
    ("column", "value", "words"),
    [(7, 120.0, "left_gripper spans"), (8, -9.0, "right_arm_1 spans"), (3, 1e6, "left_arm_4")],
)
def test_statistics_that_this_cell_cannot_have_are_refused(column, value, words, trained, cell):
    state = spread(cell, -0.3, 0.3)
    state["q99" if value > 0 else "q01"][column] = value
    ((status, text),) = told(replace(trained, norms={"state": state}), cell)
    assert status == "fail" and words in text and "not of this cell" in text


def test_differences_from_the_state_are_not_judged_as_angles(trained, cell):
    """They go through the whole span of a joint, so that degrees show all the same."""
    relative = {"q01": [-4.0] * 16, "q99": [4.0] * 16}
    relative["q01"][7] = relative["q01"][15] = 0.0
    relative["q99"][7] = relative["q99"][15] = 1.0
    columns = tuple(column for column in range(16) if column not in (7, 15))
    one = replace(trained, norms={**trained.norms, "actions": relative}, relative=columns)
    assert told(one, cell) == []


@pytest.mark.parametrize("exchanged", [True, False])
@pytest.mark.parametrize("one", ["overhead", "left_wrist", "right_wrist"])
@pytest.mark.parametrize("other", ["overhead", "left_wrist", "right_wrist"])
def test_a_camera_in_the_place_of_another_is_refused_whatever_comes_in_its_own(
    one, other, exchanged, trained, cell
):
    if one == other:
        return
    changes = {one: {"serial": cell.cameras[other].serial}}
    changes[other] = {"serial": cell.cameras[one].serial if exchanged else "new"}
    failures = [
        text for status, text in told(trained, with_cameras(cell, **changes)) if status == "fail"
    ]
    assert len(failures) == 1
    assert "have exchanged serials" in failures[0]
    assert cell.cameras[one].key in failures[0] and cell.cameras[other].key in failures[0]


def test_three_cameras_that_went_round_are_all_named(trained, cell):
    roles = list(cell.cameras)
    changes = {
        role: {"serial": cell.cameras[roles[(row + 1) % len(roles)]].serial}
        for row, role in enumerate(roles)
    }
    texts = " ".join(
        text for status, text in told(trained, with_cameras(cell, **changes)) if status == "fail"
    )
    assert all(cell.cameras[role].key in texts for role in roles)


def test_differences_from_the_state_in_degrees_are_refused_as_such(trained, cell):
    columns = tuple(column for column in range(16) if column not in (7, 15))
    degrees = {key: [value] * 16 for key, value in (("q01", -40.0), ("q99", 40.0))}
    for column in (7, 15):
        degrees["q01"][column], degrees["q99"][column] = 0.0, 1.0
    one = replace(trained, norms={**trained.norms, "actions": degrees}, relative=columns)
    ((status, text),) = told(one, cell)
    assert status == "fail" and "look like degrees" in text


def test_another_tick_rate_is_refused_with_both(trained, cell):
    ((status, text),) = told(trained, replace(cell, tick_rate=10.0))
    assert status == "fail" and "10 Hz, the policy learned at 20 Hz" in text


@pytest.mark.parametrize(("devices", "entry"), [("arms", "ip"), ("grippers", "port")])
def test_exchanged_arms_or_grippers_are_refused(devices, entry, trained, cell):
    one = dict(getattr(cell, devices))
    left, right = getattr(one["left"], entry), getattr(one["right"], entry)
    one = {
        "left": replace(one["left"], **{entry: right}),
        "right": replace(one["right"], **{entry: left}),
    }
    ((status, text),) = told(trained, replace(cell, **{devices: one}))
    assert status == "fail" and f"{devices} left and right" in text


def test_an_arm_that_stands_elsewhere_is_told(trained, cell):
    arm = cell.arms["left"]
    moved = replace(arm, base_pose=(arm.base_pose[0] + 0.05, *arm.base_pose[1:]))
    ((status, text),) = told(trained, replace(cell, arms={**cell.arms, "left": moved}))
    assert status == "warn" and "left arm: stands at [0.05" in text


def test_a_real_cell_after_training_on_the_simulated_one_is_told_once(trained):
    found = told(trained, load_cell(None, "real"))
    assert [status for status, _ in found] == ["warn"]
    assert "learned on the sim cell" in found[0][1]


@pytest.mark.parametrize(
    ("language", "known", "given", "status", "words"),
    [
        (True, ("a b", "c d"), "c d", None, ""),
        (
            True,
            ("pick it up", "c d"),
            "pick it upp",
            "warn",
            "did you mean 'pick it up'? it knows",
        ),
        (True, ("a b",), "", None, ""),
        (True, ("a b", "c d"), "", "fail", "give one of 'a b', 'c d'"),
        (True, (), "anything", None, ""),
        (False, ("a b",), "x", "warn", "reads no instruction: it does what it was shown: 'a b'"),
        (False, ("a b", "c d"), "", None, ""),
        (True, tuple(map(str, range(9))), "x", "warn", "'4' and 4 more"),
    ],
)
def test_an_instruction_that_is_new_or_not_used_is_told_with_the_known_ones(
    language, known, given, status, words, trained, cell
):
    one = replace(trained, language=language, instructions=known)
    found = told(one, cell, given)
    assert [each for each, _ in found] == ([] if status is None else [status])
    assert not found or words in found[0][1]


def test_damaged_statistics_are_refused_in_one_line(cell):
    with pytest.raises(CheckpointError, match=r"damaged .*copy it again"):
        TrainedOn.read(cell.canonical_text(), {}, {"norm_stats": {"state": {"q01": ["x"]}}}, {})


def with_arms(cell, **changes):
    """The cell, with fields of some arms changed by side."""
    arms = {side: replace(arm, **changes.get(side, {})) for side, arm in cell.arms.items()}
    return replace(cell, arms=arms)


def with_strokes(cell, stroke):
    """The cell, with grippers that open so far at ratio 1 [m]."""
    grippers = {side: replace(one, stroke_m=stroke) for side, one in cell.grippers.items()}
    return replace(cell, grippers=grippers)


def test_a_policy_of_another_arm_is_refused_and_of_another_stroke_is_told(trained, cell):
    ((status, text),) = told(trained, with_arms(cell, right={"model": "other_seven_axis"}))
    assert status == "fail"
    assert "right arm: is other_seven_axis, the policy learned with rm75_6f" in text
    assert "use the cell that it was trained for" in text
    found = told(trained, with_strokes(cell, 0.06))
    assert [status for status, _ in found] == ["warn", "warn"]
    assert "left gripper: opens 0.06 m at ratio 1, the policy learned with 0.12 m" in found[0][1]


def test_the_file_of_an_arm_that_lies_elsewhere_is_told_and_another_file_is_refused(cell):
    trained = TrainedOn(cell=with_arms(cell, left={"model": "/home/a/seven.yaml"}))
    ((status, text),) = told(trained, with_arms(cell, left={"model": "/opt/seven.yaml"}), "")
    assert status == "warn" and "/home/a/seven.yaml" in text
    ((status, _),) = told(trained, with_arms(cell, left={"model": "/home/a/eight.yaml"}), "")
    assert status == "fail"


def test_what_a_contract_does_not_say_of_its_arms_and_grippers_is_told_and_not_made_up(
    trained, cell
):
    values = yaml.safe_load(cell.canonical_text())
    del values["arms"]["left"]["model"], values["grippers"]["right"]["stroke_m"]
    old = TrainedOn.read(yaml.safe_dump(values), {}, {"norm_stats": trained.norms}, {})
    other = with_arms(with_strokes(cell, 0.06), left={"model": "other_seven_axis"})
    found = told(old, other, "")
    assert [status for status, _ in found] == ["warn", "warn", "warn"]
    assert "left arm: is other_seven_axis" in found[0][1] and "not recorded" in found[0][1]
    assert "rm75_6f" not in found[0][1]
    assert "left gripper" in found[1][1] and "with 0.12 m" in found[1][1]
    assert "right gripper" in found[2][1] and "not recorded" in found[2][1]


def test_a_policy_of_a_robot_that_was_only_read_from_files_drives_none(trained, cell):
    read = replace(cell, name="foreign_two_arms", operators={}, tick_rate=10.0)
    ((status, text),) = told(replace(trained, cell=read), cell)
    assert status == "fail" and "learned from foreign_two_arms" in text and "--init" in text
    assert told(replace(trained, cell=read), read) == []


def mix(first, other, cameras=CAMERAS):
    return [(finding.status, finding.text) for finding in mixed(first, other, cameras, "first")]


def test_episodes_of_one_cell_are_mixed_without_a_word(cell):
    assert mix(cell, cell) == []


def test_episodes_whose_arms_were_exchanged_are_not_mixed(cell):
    left, right = (cell.arms[side].ip for side in ("left", "right"))
    ((status, text),) = mix(cell, with_arms(cell, left={"ip": right}, right={"ip": left}))
    assert status == "fail" and "exchanged addresses since first" in text
    assert "train on one of them at a time" in text


def test_exchanged_cameras_keep_a_network_from_a_mix_only_where_it_looks_through_them(cell):
    other = with_cameras(
        cell, left_wrist={"serial": "right_wrist"}, right_wrist={"serial": "left_wrist"}
    )
    ((status, text),) = mix(cell, other)
    assert status == "fail" and "have exchanged serials since first" in text
    assert mix(cell, other, ("cam_high",)) == []


def test_episodes_of_two_kinds_of_arms_are_not_mixed(cell):
    (finding,) = mix(cell, with_arms(cell, right={"model": "another"}))
    assert finding[0] == "fail"
    assert "right arm: is another, first was recorded with rm75_6f" in finding[1]


def test_places_strokes_and_simulation_are_told_of_a_mix(cell):
    x, *rest = cell.arms["left"].base_pose
    moved = with_arms(cell, left={"base_pose": (x + 0.4, *rest)})
    assert [status for status, _ in mix(cell, moved)] == ["warn"]
    assert "in first at" in mix(cell, moved)[0][1]
    strokes = mix(cell, with_strokes(cell, 0.06))
    assert [status for status, _ in strokes] == ["warn", "warn"]
    assert "opens 0.06 m at ratio 1, first was recorded with 0.12 m" in strokes[0][1]
    assert "warn" in mix(cell, load_cell(None, "real"))[0]
