"""Each number of a whole cell file multiplied by what mistakes multiply it by.

What is still accepted is listed with the reason why it makes sense.
"""

import copy
import re
from pathlib import Path

import pytest
import yaml

from ate_core import contract
from ate_core.contract import load_cell, packaged_cell
from ate_core.errors import ContractError

FACTORS = (57.29578, 0.017453, 1000.0, 0.001, -1.0, 0.0)
"""Degrees for radians and back, thousandths for units and back, a wrong sign, nothing."""

SENSIBLE = {
    r"arms\.\w+\.base_pose\.[01] .*": "the arm stands elsewhere, apart from the other",
    r"(.*\.)?(base_pose|pose)\.6 -1": "the same rotation",
    r"operators\.\w+\.hand_rotation\.\d -1": "another rotation",
    r"arms\.\w+\.home\.\d (-1|0|0.001|0.017453)": "a posture inside the limits, clear of all",
    r"arms\.\w+\.joint_(lower|upper)\.\d (0|0.001|0.017453)": "narrower limits, home inside",
    r"arms\.\w+\.joint_speed\.\d 0.017453": "a very slow joint",
    r"cameras\.\w+\.view\..*": "another view within the cell; nothing moves by it",
    r"guard\.workspace_(lower|upper)\.\d .*": "another workspace, home inside",
    r"guard\.\w+\.stop 57.2958": "stops further away",
    r"guard\.tool_speed 0.*": "slower",
    r"obstacles\.table\.(pose|size)\.\d .*": "another table, the resting arms clear of it",
    r"operators\.\w+\.yaw .*": "another direction",
    r"safety\.max_joint_speed 0.017453": "very slow",
}
"""Pattern of ``entry factor`` -> why a cell with it may be loaded."""


def numbers(values, path=()):
    entries = values.items() if isinstance(values, dict) else enumerate(values)
    for key, value in entries:
        if isinstance(value, (dict, list)):
            yield from numbers(value, (*path, key))
        elif isinstance(value, (int, float)) and not isinstance(value, bool):
            yield (*path, key), value


def whole_cell():
    """The packaged cell with every default spelled out."""
    values = yaml.safe_load(load_cell().canonical_text())
    for key in ("hardware", "runtime_dir"):
        del values[key]
    values["simulation"] = yaml.safe_load(packaged_cell().read_text())["simulation"]
    return values


def problems_of(values, hardware):
    problems = []
    try:
        contract._settle(values, Path("cell.yaml"), hardware, problems)
    except ContractError as error:
        problems.append(str(error))
    return problems


def changed(values, path, value):
    values = copy.deepcopy(values)
    place = values
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    return values


def test_a_whole_cell_with_every_entry_spelled_out_is_right():
    assert problems_of(whole_cell(), "real") == []
    assert problems_of(whole_cell(), "sim") == []


def test_what_a_mistake_of_unit_or_sign_makes_is_refused_or_makes_sense():
    whole, accepted, refused = whole_cell(), [], 0
    for path, value in numbers(whole):
        if "right" in path:
            continue  # as the left
        hardware = "sim" if path[0] == "simulation" else "real"
        for factor in FACTORS:
            new = value * factor
            if isinstance(value, int) and float(new).is_integer():
                new = int(new)
            if new == value:
                continue
            found = problems_of(changed(whole, path, new), hardware)
            refused += bool(found)
            if not found:
                accepted.append(f"{'.'.join(map(str, path))} {factor:g}")
    strange = [one for one in accepted if not any(re.fullmatch(p, one) for p in SENSIBLE)]
    assert strange == []
    assert refused > 500


@pytest.mark.parametrize("section", ["arms", "operators", "grippers"])
def test_sides_that_are_swapped_or_doubled_are_refused(section):
    whole = whole_cell()
    both = whole[section]
    swapped = {"left": both["right"], "right": both["left"]}
    doubled = {"left": both["left"], "right": copy.deepcopy(both["left"])}
    for wrong in (swapped, doubled, {"right": both["right"], "left": both["left"]}):
        assert problems_of(copy.deepcopy(whole) | {section: wrong}, "real") != []


def test_each_entry_that_is_swapped_between_the_sides_is_refused_or_makes_sense():
    whole, accepted = whole_cell(), []
    for section in ("arms", "operators", "grippers"):
        for entry in whole[section]["left"]:
            values = copy.deepcopy(whole)
            left, right = values[section]["left"], values[section]["right"]
            if left[entry] == right[entry]:
                continue
            left[entry], right[entry] = right[entry], left[entry]
            if not problems_of(values, "real"):
                accepted.append(f"{section}.{entry}")
    # Which controller, adapter or headset is the left one, only the live visit can tell.
    assert sorted(accepted) == [
        "arms.ip",
        "arms.udp_port",
        "operators.headset_ip",
        "operators.joycon_serial",
        "operators.joycon_side",
    ]


@pytest.mark.parametrize("section", ["arms", "operators", "grippers", "cameras"])
def test_each_entry_that_is_copied_to_another_device_is_refused_where_it_must_be_unique(section):
    whole = whole_cell()
    names = list(whole[section])
    unique = {
        "arms": {"ip", "udp_port", "namespace", "joint_names", "base_pose", "guards"},
        "operators": {"headset_ip", "joycon_serial", "arm"},
        "grippers": {"port", "namespace"},
        "cameras": {"key"},
    }[section]
    refused = set()
    for entry in whole[section][names[0]]:
        values = copy.deepcopy(whole)
        first, second = values[section][names[0]], values[section][names[1]]
        if first[entry] != second[entry]:
            second[entry] = first[entry]
            refused |= {entry} if problems_of(values, "real") else set()
    assert refused >= unique
