"""A policy of another robot is refused at every door: by launch and node, from folder and server.

A check that only one of them makes is one that a served policy, or a copied one, goes around.
"""

import json
import math
from contextlib import contextmanager
from dataclasses import replace

import pytest

from ate_bringup.launches import LAUNCHES
from ate_bringup.preflight import checks_before_launch
from ate_core.errors import AteError
from ate_policy.first_look import compare_training
from ate_policy.policy import load_policy

from .conftest import CELL, Asked, linked, saved, served


def of_another_arm(cell):
    arms = {side: replace(arm, model="other_seven_axis") for side, arm in cell.arms.items()}
    return replace(cell, arms=arms)


def read_from_files(cell):
    return replace(cell, name="foreign_two_arms", operators={})


def launch_says(runtime_dir, **given):
    """What a launch refuses."""
    launch = LAUNCHES["deploy"]
    found = checks_before_launch(launch, launch.resolve({"hardware": "sim", **given}))
    return "; ".join(finding.text for finding in found if finding.status == "fail")


def node_says(load):
    """What a node refuses before it is ready."""
    try:
        with load() as policy:
            compare_training(policy, CELL, "")
    except AteError as error:
        return str(error)
    return ""


@contextmanager
def loaded(folder):
    yield load_policy(folder, CELL)


def at_every_door(policy, folder, runtime_dir):
    """What is said of a policy, served and as a folder."""
    with served(policy) as address:
        yield launch_says(runtime_dir, policy_server=address)
        yield node_says(lambda: linked(address))
    yield launch_says(runtime_dir, checkpoint=str(folder))
    yield node_says(lambda: loaded(folder))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (of_another_arm, "left arm: is rm75_6f, the policy learned with other_seven_axis"),
        (read_from_files, "learned from foreign_two_arms, a robot that was only read from files"),
    ],
)
def test_a_policy_of_another_arm_or_of_files_alone_is_refused_at_every_door(
    change, words, policy, tmp_path, runtime_dir
):
    other = Asked(policy)
    other.contract = change(CELL).canonical_text()
    folder = saved(other, tmp_path / "policy")
    for told in at_every_door(other, folder, runtime_dir):
        assert words in told


@pytest.mark.parametrize("name", ["state", "actions"])
@pytest.mark.parametrize(("key", "number"), [("q01", math.nan), ("q99", -9.0), ("q99", math.inf)])
def test_quantiles_between_which_no_number_lies_are_refused_at_every_door(
    key, number, name, policy, tmp_path, runtime_dir
):
    table = policy.statistics.to_dict()
    table["norm_stats"][name][key][3] = number
    folder = saved(policy, tmp_path / "policy")
    (folder / "statistics.json").write_text(json.dumps(table))

    class Damaged:
        def to_dict(self):
            return table

    other = Asked(policy)
    other.statistics = Damaged()
    for told in at_every_door(other, folder, runtime_dir):
        assert name in told and "in column 3, must be finite and in order" in told
