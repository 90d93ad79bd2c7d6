import pytest

from ate_core.errors import LayoutError
from ate_policy.models.rdt_config import TWO_ARMS
from ate_policy.models.rdt_layout import indices_of, object_indices


def test_the_packaged_cell_takes_the_published_entries(cell):
    """[left 7, left gripper, right 7, right gripper] as in RDT's own code."""
    expected = (*range(50, 57), 60, *range(7), 10)
    assert indices_of(cell.layout.action.names) == expected
    assert indices_of(cell.layout.state.names) == expected


def test_the_default_names_are_those_of_the_packaged_cell(cell):
    assert cell.layout.action.names == TWO_ARMS


def test_a_single_arm_uses_the_right_part():
    assert indices_of(["arm_1", "arm_7", "gripper"]) == (0, 6, 10)
    assert indices_of(["right_arm_1", "right_gripper"]) == (0, 10)


def test_other_quantities_have_the_published_entries():
    names = ["left_arm_velocity_1", "right_tool_position_3", "left_tool_rotation_6"]
    assert indices_of([*names, "base_velocity_2", "base_yaw_rate"]) == (65, 32, 88, 101, 102)


@pytest.mark.parametrize("name", ["left_tail_1", "torso", "arm_left_1", ""])
def test_an_unknown_field_is_refused_by_name(name):
    with pytest.raises(LayoutError, match=f"no place for '{name}'"):
        indices_of(["left_arm_1", name])


@pytest.mark.parametrize("name", ["left_arm_11", "left_arm_0", "gripper_6"])
def test_a_component_beyond_its_field_is_refused(name):
    with pytest.raises(LayoutError, match=f"'{name}' lies outside"):
        indices_of([name])


def test_two_names_for_one_entry_are_refused():
    with pytest.raises(LayoutError, match="share an entry"):
        indices_of(["arm_1", "right_arm_1"])


def test_objects_stand_in_the_reserved_entries():
    assert object_indices(12) == tuple(range(103, 115))
    with pytest.raises(LayoutError, match="30 object features do not fit"):
        object_indices(30)
