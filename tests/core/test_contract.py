"""The cell is described once, and a wrong description is refused with a remedy."""

from pathlib import Path

import pytest
import yaml

from ate_core.arm_model import load_arm_model
from ate_core.camera_config import OTHER_STREAMS
from ate_core.contract import (
    cell_file,
    load_cell,
    packaged_cell,
    parse_cell_text,
    warn_of_stutter,
    warn_of_unstable_name,
)
from ate_core.devices import Guard
from ate_core.errors import ContractError, LayoutError
from ate_core.layout import Field, VectorLayout
from ate_core.streams import cell_streams


def edited_cell(tmp_path, edit):
    values = yaml.safe_load(packaged_cell().read_text())
    edit(values)
    file = tmp_path / "cell.yaml"
    file.write_text(yaml.safe_dump(values, sort_keys=False))
    return file


def test_packaged_cell_has_two_arms_and_a_16_vector():
    cell = load_cell()
    assert list(cell.arms) == ["left", "right"]
    assert cell.layout.state.size == cell.layout.action.size == 16
    assert cell.layout.state.slice("right_arm") == slice(8, 15)
    assert cell.layout.state.names[7] == "left_gripper"


def test_simulation_changes_addresses_but_not_the_layout():
    real, sim = load_cell(), load_cell(hardware="sim")
    assert sim.arms["left"].ip == "127.0.0.2"
    assert real.arms["left"].ip != sim.arms["left"].ip
    assert sim.layout.sha256 == real.layout.sha256
    assert sim.sha256 != real.sha256


def test_canonical_text_rebuilds_an_equal_cell():
    cell = load_cell(hardware="sim")
    again = parse_cell_text(cell.canonical_text())
    assert again == cell
    assert again.sha256 == cell.sha256
    assert again.layout.sha256 == cell.layout.sha256
    assert list(again.arms) == ["left", "right"]


def test_cells_of_one_text_share_nothing_and_errors_say_where():
    cell = load_cell(hardware="sim")
    text = cell.canonical_text()
    parse_cell_text(text, "first").arms.pop("left")
    assert parse_cell_text(text, "second") == cell
    for where in ("first", "second"):
        with pytest.raises(ContractError, match=f"^{where}"):
            parse_cell_text("arms: 3", where)


def test_runtime_folder_follows_the_environment(monkeypatch, tmp_path):
    monkeypatch.setenv("ATE_RUNTIME_DIR", str(tmp_path))
    cell = load_cell(hardware="sim")
    assert cell.runtime_dir == str(tmp_path)
    assert cell.grippers["left"].port == str(tmp_path / "gripper_left")


@pytest.mark.parametrize(
    ("edit", "words"),
    [
        (lambda v: v["arms"]["left"].update(ipp="1.2.3.4"), "unknown key 'ipp'"),
        (lambda v: v["arms"]["left"].pop("ip"), "lacks the field 'ip'"),
        (
            lambda v: v["arms"]["right"].update(home=[0.0] * 6),
            "6 entries, the model rm75_6f",
        ),
        (lambda v: v["arms"]["left"].update(driver="realmen"), "known are realman, ros2_control"),
        (
            lambda v: v["arms"]["left"].update(options={"state_topic": "/x"}),
            "unknown key 'state_topic'; known keys of the driver realman: none",
        ),
        (
            lambda v: v["arms"]["left"].update(
                driver="ros2_control", options={"stat_topic": "/x"}
            ),
            "unknown key 'stat_topic'; known keys of the driver ros2_control: command_topic",
        ),
        (lambda v: v["arms"]["left"].update(model="rm76"), "known are rm75_6f, six_axis"),
        (lambda v: v["arms"]["left"].update(model="none.yaml"), "cannot be read"),
        (lambda v: v["arms"]["right"].update(model="six_axis"), r"right_arm 7 numbers.*6 joints"),
        (lambda v: v["safety"].update(min_elbow=0.2), "unknown key 'min_elbow'"),
        (lambda v: v["arms"]["left"].update(guards={"joint4": {"lower": 0.2}}), "guards name"),
        (
            lambda v: v["arms"]["left"].update(guards={"left_joint4": {"lower": -1.0}}),
            "lower is -1.0, wider than the 0.1 of the model: a cell may only narrow",
        ),
        (
            lambda v: v["arms"]["left"].update(guards={"left_joint4": {"upper": 0.05}}),
            "left_joint4 may be commanded from 0.1 to 0.05 rad",
        ),
        (
            lambda v: v["arms"]["left"].update(guards={"left_joint4": {"upper": 1.5}}),
            r"home angle 2.0 rad of left_joint4 lies outside its guards \(0.1 to 1.5\)",
        ),
        (lambda v: v["arms"]["left"].update(guards=7), "guards is 7; need a mapping"),
        (lambda v: v["arms"]["left"].update(joint_names=7), "joint_names is 7; need a list"),
        (lambda v: v["arms"]["left"].update(joint_names=["a"] * 7), "repeats a name"),
        (
            lambda v: v["cameras"]["overhead"].update(key="left_wrist"),
            "camera left_wrist: its role is the key of another camera",
        ),
        (
            lambda v: v["cameras"]["overhead"].update(key="objects"),
            "the key 'objects' makes the stream 'objects', which the cell has already",
        ),
        (
            lambda v: v["cameras"]["overhead"].update(key="cam_left_wrist_info"),
            "the key 'cam_left_wrist' makes the stream 'cam_left_wrist_info'",
        ),
        (lambda v: v["arms"]["right"].update(home=[3.2] + [0.0] * 6), "outside"),
        (lambda v: v["arms"].pop("right"), r"grippers are \['left', 'right'\], arms \['left'\]"),
        (lambda v: v["operators"].pop("left"), r"operators are \['right'\]"),
        (lambda v: v["arms"].update(third=v["arms"].pop("right")), "need left and right"),
        (lambda v: v["arms"]["right"].update(udp_port=8089), "share UDP port 8089"),
        (lambda v: v.update(tick_rate="fast"), "need a number"),
        (lambda v: v.update(tick_rate=float("nan")), "finite"),
        (lambda v: v["safety"].update(max_step=0.0), "max_step is 0.0"),
        (lambda v: v["cameras"]["overhead"].update(backend="webcam"), "known are realsense"),
        (lambda v: v["arms"]["left"].update(udp_cycle_ms=7), "multiple of 5"),
        (lambda v: v["grippers"]["left"].update(force=0), "force is 0; need 1 to 255"),
        (lambda v: v["cameras"]["overhead"].update(fps=0), "fps is 0 Hz; need 1 to 120 Hz"),
        (lambda v: v["cameras"]["overhead"].update(jpeg_quality=101), "need 1 to 100"),
        (
            lambda v: v.update(rates={"arm_stream": 0.0}),
            "arm_stream is 0.0 Hz; need 20 to 1000 Hz",
        ),
    ],
)
def test_wrong_descriptions_are_refused_with_value_and_remedy(tmp_path, edit, words):
    with pytest.raises(ContractError, match=words) as caught:
        load_cell(edited_cell(tmp_path, edit))
    assert "\n" not in str(caught.value)


def one_arm(values):
    for part in ("arms", "grippers"):
        values[part].pop("left")
    values["operators"].clear()
    for vector in ("state", "action"):
        values["vectors"][vector] = values["vectors"][vector][2:]


def test_a_robot_with_one_arm_and_no_operator_is_described_too(tmp_path):
    cell = load_cell(edited_cell(tmp_path, lambda v: (v.pop("simulation"), one_arm(v))))
    assert cell.layout.action.names[-2:] == ("right_arm_7", "right_gripper")
    assert cell.layout.action.size == 8
    assert parse_cell_text(cell.canonical_text()) == cell


def test_only_a_cell_with_both_arms_is_simulated(tmp_path):
    def edit(values):
        one_arm(values)
        for part in ("arms", "grippers", "operators"):
            values["simulation"][part] = {}

    with pytest.raises(ContractError, match="the simulated cell needs both sides"):
        load_cell(edited_cell(tmp_path, edit), "sim")


@pytest.mark.parametrize(
    ("edit", "words"),
    [
        (lambda v: v.update(simulation=[1]), r"simulation is \[1\]; need a mapping"),
        (lambda v: (v.update(cameras=None), v["simulation"].pop("cameras")), "cameras is None"),
        (lambda v: (v.update(grippers=7), v["simulation"].pop("grippers")), "grippers is 7"),
    ],
)
def test_sections_of_another_kind_are_refused_in_simulation_too(tmp_path, edit, words):
    with pytest.raises(ContractError, match=words):
        load_cell(edited_cell(tmp_path, edit), "sim")


def test_missing_and_broken_files_are_refused(tmp_path):
    (tmp_path / "binary.yaml").write_bytes(b"\xff\xfe\x00\x81")
    with pytest.raises(ContractError, match=r"cannot be read \(it is no text"):
        load_cell(tmp_path / "binary.yaml")
    with pytest.raises(ContractError, match="cannot be read"):
        load_cell(tmp_path / "none.yaml")
    (tmp_path / "broken.yaml").write_text("arms: [1, 2\nname: x")
    with pytest.raises(ContractError, match="not valid YAML"):
        load_cell(tmp_path / "broken.yaml")


def test_cell_without_a_simulation_section_cannot_be_simulated(tmp_path):
    file = edited_cell(tmp_path, lambda values: values.pop("simulation"))
    load_cell(file)
    with pytest.raises(ContractError, match="no section 'simulation'"):
        load_cell(file, "sim")


def test_differing_layouts_are_named_field_by_field(tmp_path):
    def edit(values):
        values["vectors"]["state"] = [dict(f) for f in values["vectors"]["state"]]
        values["vectors"]["state"][1]["name"] = "left_hand"
        values["tick_rate"] = 30.0
        values["operators"] = {}  # a robot of that layout is only read from files
        del values["simulation"]["operators"]

    other = load_cell(edited_cell(tmp_path, edit))
    with pytest.raises(
        LayoutError, match=r"left_gripper \[ratio\] x 1 against left_hand \[ratio\] x 1"
    ):
        load_cell().layout.require(other.layout, "checkpoint x")
    assert len(load_cell().layout.differences(other.layout)) == 2


def test_packing_and_unpacking_are_inverse():
    layout = VectorLayout(
        fields=(Field(name="a", unit="rad", size=2), Field(name="b", unit="ratio", size=1))
    )
    vector = layout.pack({"a": [1.0, 2.0], "b": 3.0})
    assert {k: v.tolist() for k, v in layout.unpack(vector).items()} == {"a": [1, 2], "b": [3]}
    with pytest.raises(LayoutError, match="'b' is missing"):
        layout.pack({"a": [1.0, 2.0]})
    with pytest.raises(LayoutError, match="no field 'c'"):
        layout.slice("c")


def test_a_layout_knows_its_components_by_unit() -> None:
    action = load_cell().layout.action
    assert action.columns("ratio") == (7, 15)
    assert action.columns("rad") == tuple(i for i in range(16) if i not in (7, 15))
    assert action.columns("m") == ()


def test_a_packaged_cell_is_found_by_name(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    cell = load_cell("six_axis", "sim")
    assert cell == load_cell(cell_file("six_axis"), "sim")
    assert cell.layout.action.size == 14
    assert [arm.driver for arm in cell.arms.values()] == ["ros2_control"] * 2
    with pytest.raises(ContractError, match=r"seven_axis cannot be read .* \(six_axis\)"):
        load_cell("seven_axis")


def test_joints_come_from_the_model_and_home_may_be_the_cells_own(tmp_path):
    home = [0.1, -0.35, 0.0, 2.0, 0.0, 1.4916, 0.0]
    file = edited_cell(tmp_path, lambda v: v["arms"]["left"].update(home=home))
    arm = load_cell(file).arms["left"]
    assert arm.home == tuple(home)
    assert arm.joint_names[:2] == ("left_joint1", "left_joint2")
    assert arm.joint_upper == load_arm_model("rm75_6f").upper
    assert arm.guards == {"left_joint4": Guard(lower=0.1)}


def test_a_guard_bounds_commands_inside_the_limits_without_a_margin():
    arm = load_cell().arms["left"]
    lower, upper = arm.bounds(0.02)
    elbow = arm.joint_names.index("left_joint4")
    assert lower[elbow] == 0.1
    assert upper == pytest.approx([limit - 0.02 for limit in arm.joint_upper])


def test_a_cells_guard_keeps_the_bounds_of_the_models_that_it_does_not_name(tmp_path):
    guards = {"left_joint4": {"upper": 2.1}, "left_joint6": {"lower": -1.0}}
    file = edited_cell(tmp_path, lambda v: v["arms"]["left"].update(guards=guards))
    assert load_cell(file).arms["left"].guards == {
        "left_joint4": Guard(lower=0.1, upper=2.1),
        "left_joint6": Guard(lower=-1.0),
    }


def test_the_streams_that_no_camera_may_be_called_are_those_of_the_cell():
    cell = load_cell(hardware="sim")
    keys = {camera.key for camera in cell.cameras.values()}
    names = {stream.name for stream in cell_streams(cell)}
    assert names - keys - {f"{key}_info" for key in keys} == OTHER_STREAMS


@pytest.mark.parametrize(
    ("rate", "timeout", "warnings"), [(5, 0.1, 1), (5, 0.25, 0), (20, 0.1, 0)]
)
def test_a_tick_longer_than_the_command_timeout_is_told_once(
    tmp_path, caplog, rate, timeout, warnings
):
    def edit(values):
        values["tick_rate"] = float(rate)
        values["safety"]["command_timeout"] = timeout

    file = edited_cell(tmp_path, edit)
    warn_of_stutter.cache_clear()
    for _ in range(2):
        load_cell(file)
    assert len(caplog.records) == warnings
    assert all("set command_timeout above one tick" in r.getMessage() for r in caplog.records)


def test_a_device_by_a_number_of_the_kernel_is_told_once_and_not_refused(tmp_path, caplog):
    def edit(values):
        values["grippers"]["left"]["port"] = "/dev/ttyUSB0"
        values["cameras"]["overhead"]["serial"] = "/dev/video4"

    file = edited_cell(tmp_path, edit)
    warn_of_unstable_name.cache_clear()
    load_cell(file, "sim")
    assert not caplog.records, "its devices are emulated"
    for _ in range(2):
        load_cell(file, "real")
    port, camera = [record.getMessage() for record in caplog.records]
    assert port.startswith("grippers.left.port is /dev/ttyUSB0, which may be another device")
    assert camera.startswith("cameras.overhead.serial is /dev/video4, which may be another")


ROBOTS = sorted((Path(__file__).parents[2] / "benchmarks/third_party/robots").glob("*.yaml"))


@pytest.mark.parametrize("file", ROBOTS, ids=lambda file: file.stem)
def test_a_robot_of_another_maker_has_no_guards_of_the_default_model(file):
    for cell in (load_cell(file), parse_cell_text(file.read_text())):
        assert parse_cell_text(cell.canonical_text()) == cell
        for arm in cell.arms.values():
            assert arm.bounds() == (arm.joint_lower, arm.joint_upper)


def test_an_arm_that_is_driven_keeps_the_guards_of_the_model_that_it_does_not_name(tmp_path):
    def straighten(values):
        del values["arms"]["left"]["model"]
        values["arms"]["left"]["home"] = [0.0] * 7

    with pytest.raises(ContractError, match=r"home angle 0\.0 rad of left_joint4"):
        load_cell(edited_cell(tmp_path, straighten))


def test_a_text_whose_arm_took_the_guards_of_another_is_still_read():
    values = yaml.safe_load(load_cell().canonical_text())
    values["arms"]["left"]["home"][3] = -2.0
    assert parse_cell_text(yaml.safe_dump(values)).arms["left"].home[3] == -2.0


def old_text(smallest):
    """The canonical text of a cell from before arms named driver and model."""
    values = yaml.safe_load(load_cell().canonical_text())
    for arm in values["arms"].values():
        for key in ("driver", "model", "guards", "options"):
            del arm[key]
    values["safety"]["min_elbow"] = smallest
    return yaml.safe_dump(values, sort_keys=True)


def test_files_from_before_arms_named_their_model_are_read():
    old = parse_cell_text(old_text(0.1))
    assert old == load_cell()
    assert not old.layout.differences(load_cell().layout)
    other = parse_cell_text(old_text(0.3))
    assert other.arms["right"].guards == {"right_joint4": Guard(lower=0.3)}


def test_embedded_text_needs_neither_the_model_nor_the_driver():
    values = yaml.safe_load(load_cell().canonical_text())
    values["arms"]["left"] |= {"driver": "gone", "model": "/gone/model.yaml"}
    arm = parse_cell_text(yaml.safe_dump(values)).arms["left"]
    assert arm.bounds() == load_cell().arms["left"].bounds()
