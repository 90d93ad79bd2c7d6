"""What only the other episodes of a set can tell of one."""

import dataclasses
import json

import numpy as np
import pytest

from training.audit.judge import LEAST_SET, compare
from training.audit.looks import CHANGES, LOOK_RULE
from training.audit.pictures import COLUMNS, ROWS
from training.audit.report import EpisodeAudit, episode_from_dict

CAMERA = "cam_left_wrist"


def scene(kind, seed):
    """Mean picture of a camera: one scene, by chance a little else and darker in each episode."""
    column = np.linspace(0.0, 1.0, COLUMNS)[None, :, None]
    row = np.linspace(0.0, 1.0, ROWS)[:, None, None]
    if kind == "symmetric":
        column = np.abs(column - 0.5)
    colour = np.array([1.0, 0.8, 0.7] if kind != "grey" else [1.0, 1.0, 1.0])
    look = (60.0 + 80.0 * row + 50.0 * column) * colour
    rng = np.random.default_rng(seed)
    return look + rng.normal(size=look.shape) * 3.0 + rng.uniform(-20.0, 20.0)


def audits(kind="plain", **measures):
    """As many episodes as make a set; the first has measures of its own."""
    known = {"left_start_rad": 0.001, "left_gripper_start": 1.0, "left_force_z_n": 5.4}
    known |= {"left_gripper_mean": 0.6, "left_force_x_n": 0.0}
    return [
        EpisodeAudit(
            name=f"episode_{row:06d}",
            seconds=10.0,
            score=100.0,
            verdicts={},
            findings=(),
            measures=known | (measures if row == 0 else {}),
            task="pick_place",
            looks={CAMERA: tuple(scene(kind, row).ravel().tolist())},
        )
        for row in range(LEAST_SET)
    ]


def with_look(one, change):
    look = np.reshape(one.looks[CAMERA], (ROWS, COLUMNS, 3))
    values = one.as_dict() | {"looks": {CAMERA: change(look).ravel().tolist()}}
    return episode_from_dict(json.loads(json.dumps(values)))


def test_episodes_that_look_alike_are_alike():
    for one in compare(audits()):
        assert one.verdicts[LOOK_RULE] == one.verdicts["outlier"] == "pass"


@pytest.mark.parametrize("name", CHANGES)
def test_a_camera_that_looks_other_than_in_the_rest_is_told_by_what_puts_it_right(name):
    first, *rest = audits()
    said = compare([with_look(first, CHANGES[name]), *rest])
    (found,) = said[0].findings
    assert found.rule == LOOK_RULE and f"looks {name} beside the other" in found.message
    assert {one.verdicts[LOOK_RULE] for one in said[1:]} == {"pass"}


@pytest.mark.parametrize(
    ("kind", "name"), [("symmetric", "mirrored"), ("grey", "with red and blue exchanged")]
)
def test_of_a_scene_that_would_look_the_same_the_rule_cannot_tell(kind, name):
    first, *rest = audits(kind)
    for said in compare([with_look(first, CHANGES[name]), *rest]):
        assert said.verdicts[LOOK_RULE] == "cannot tell" and name in said.untold[LOOK_RULE]


def test_of_few_episodes_nothing_is_said():
    assert {one.verdicts[LOOK_RULE] for one in compare(audits()[1:])} == {"not judged"}


@pytest.mark.parametrize(
    ("measure", "value"),
    [
        ("left_start_rad", 0.1),  # a zero that is wrong in states and commands
        ("left_gripper_start", 0.0),  # an opening that is inverted in both
        ("left_gripper_mean", 0.2),
        ("left_force_x_n", 5.4),  # axes of a sensor exchanged
        ("left_force_z_n", -5.4),
    ],
)
def test_what_is_wrong_on_both_sides_shows_beside_the_other_episodes(measure, value):
    (first, *rest) = compare(audits(**{measure: value}))
    assert [found.stream for found in first.findings] == [measure]
    assert {one.verdicts["outlier"] for one in rest} == {"pass"}


def blind(one):
    """As recorded without cameras."""
    return dataclasses.replace(one, looks={})


def test_of_episodes_without_cameras_it_cannot_be_told_how_they_look():
    for said in compare([blind(one) for one in audits(left_start_rad=0.1)]):
        assert (
            said.verdicts[LOOK_RULE] == "cannot tell" and "no pictures" in said.untold[LOOK_RULE]
        )
        is_first = said.name == "episode_000000"
        assert said.verdicts["outlier"] == ("flag" if is_first else "pass")


def test_a_camera_that_too_few_episodes_have_is_not_called_sound():
    first, second, *rest = audits()
    mirrored = with_look(second, CHANGES["mirrored"])
    said = compare([blind(first), mirrored, *rest])
    assert {one.verdicts[LOOK_RULE] for one in said} == {"cannot tell"}
    assert "6 other episodes show it (at least 7)" in said[1].untold[LOOK_RULE]


def test_episodes_that_share_no_measure_are_not_called_alike():
    for one in compare([dataclasses.replace(one, measures={}) for one in audits()]):
        assert one.verdicts["outlier"] == "cannot tell" and one.untold["outlier"]
    lonely = [
        dataclasses.replace(one, measures={f"{row}_start_rad": 0.0})
        for row, one in enumerate(audits())
    ]
    assert {one.verdicts["outlier"] for one in compare(lonely)} == {"cannot tell"}
