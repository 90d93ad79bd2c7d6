"""The simulated world: agrees with the description, holds what it grasps, can be drawn."""

import numpy as np
import pytest

from ate_core.arm_model import load_arm_model
from ate_core.contract import SIDES, load_cell
from ate_core.errors import DeviceError, UsageError
from ate_core.geometry import inverse, pose_to_matrix
from ate_sim.env import CellEnv, ExpertPlayer
from ate_sim.ik import ToolTracker
from ate_sim.tasks import load_task
from ate_sim.world import engine
from ate_sim.world.renderer import CellRenderer
from ate_sim.world.sim_world import SimWorld


def needs_graphics() -> None:
    try:
        engine.require_graphics()
    except DeviceError as error:
        pytest.skip(str(error))


def test_tool_pose_agrees_with_the_description() -> None:
    world = SimWorld(load_task("pick_place"))
    rng = np.random.default_rng(0)
    transform_tool_to_flange = pose_to_matrix([0.0, 0.0, 0.16, 0.0, 0.0, 0.0, 1.0])
    for side in SIDES:
        world.set_arm_target(side, world.arm_q(side) + rng.normal(0.0, 0.1, 7))
    world.step(200)
    state = world.physics_state()
    world.load_physics_state(state)
    for side in SIDES:
        base = pose_to_matrix(world.cell.arms[side].base_pose)
        expected = base @ world.chains[side].fk(world.arm_q(side)) @ transform_tool_to_flange
        assert world.tool_pose(side) == pytest.approx(expected, abs=1e-9)


def test_arms_stay_where_they_are_told() -> None:
    world = SimWorld(load_task("pick_place"))
    target = world.arm_q("left") + np.array([0.2, 0.1, 0.2, -0.3, 0.2, 0.2, 0.2])
    world.set_arm_target("left", target)
    world.step(500)
    assert world.arm_q("left") == pytest.approx(target, abs=1e-3)
    assert world.arm_qd("left") == pytest.approx(np.zeros(7), abs=1e-3)
    assert world.arm_q("right") == pytest.approx(world.cell.arms["right"].home, abs=1e-3)


def test_motors_carry_the_weight_of_the_arm() -> None:
    world = SimWorld(load_task("pick_place"))
    torque = world.arm_torque("left")
    assert abs(torque[3]) > 2.0
    assert torque[[0, 6]] == pytest.approx(np.zeros(2), abs=0.05)


def test_wrench_shows_the_gripper_and_what_presses_on_it() -> None:
    world = SimWorld(load_task("pick_place"))
    world.set_gripper_target("left", 0.0)
    world.step(500)
    weight = world.wrench("left")
    assert weight[2] == pytest.approx(0.55 * 9.81, abs=0.3)  # tool z points down
    tracker = ToolTracker(world, "left")
    pose = world.tool_pose("left")
    for share in np.linspace(0.0, 1.0, 100):
        goal = pose.copy()
        goal[:3, 3] += share * (np.array([0.22, 0.25, 0.004]) - pose[:3, 3])
        world.set_arm_target("left", tracker.solve(goal))
        world.step(10)
    world.step(100)
    assert world.wrench("left")[2] < weight[2] - 5.0  # the table pushes the tool back


@pytest.mark.parametrize("cell", [None, "six_axis"])
def test_a_wrench_ends_where_the_sensor_of_the_arm_ends(cell: str | None) -> None:
    """What no sensor shows would make a recording that the converter rightly refuses."""
    world = SimWorld(load_task("pick_place"), cell=cell and load_cell(cell, "sim"))
    sensor = load_arm_model(world.cell.arms["left"].model).wrench_range
    hand = world.model.site("left_flange").bodyid
    world.data.xfrc_applied[hand] = [900.0, 0.0, -900.0, 0.0, 90.0, 0.0]
    world.step(1)
    largest = np.abs(world.wrench("left").reshape(2, 3)).max(axis=1)
    if sensor is None:
        assert np.all(largest > [300.0, 30.0])
    else:
        assert largest == pytest.approx(sensor)


@pytest.mark.parametrize(
    ("task", "name", "side"),
    [("pick_place", "cube", "left"), ("pick_bun", "lid", "left"), ("handover", "bar", "right")],
)
def test_held_object_slips_less_than_a_millimetre_in_ten_seconds(
    task: str, name: str, side: str
) -> None:
    env = CellEnv(task)
    env.reset(0)
    player = ExpertPlayer(env, 0)
    tick = 0
    while env.world.object_pose(name)[2] < 0.09:
        action = player.action(tick)
        env.step(action)
        tick += 1
    world = env.world
    world.step(500)
    assert world.gripper_blocked(side)

    def in_hand() -> np.ndarray:
        return (inverse(world.tool_pose(side)) @ pose_to_matrix(world.object_pose(name)))[:3, 3]

    before = in_hand()
    world.step(5000)
    assert np.linalg.norm(in_hand() - before) < 1e-3


def test_physics_state_carries_everything_a_picture_needs() -> None:
    world, copy = SimWorld(load_task("use_toaster")), SimWorld(load_task("use_toaster"))
    world.reset(7, "hard")
    world.set_arm_target("left", world.arm_q("left") + 0.1)
    world.step(50)
    copy.load_physics_state(world.physics_state())
    world.load_physics_state(world.physics_state())
    assert np.array_equal(copy.object_poses(), world.object_poses())
    assert np.array_equal(copy.tool_pose("left"), world.tool_pose("left"))
    assert world.physics_state().size <= 512


def test_camera_pictures_repeat_and_show_the_scene() -> None:
    needs_graphics()
    world = SimWorld(load_task("pick_place"))
    renderer = CellRenderer(world)
    for role, camera in world.cell.cameras.items():
        picture = renderer.render(camera.key, 72, 128)
        assert picture.shape == (72, 128, 3)
        assert picture.std() > 5.0
        assert np.array_equal(picture, renderer.render(role, 72, 128))
    with pytest.raises(UsageError, match="cam_high"):
        renderer.render("cam_low", 72, 128)
    renderer.close()


def test_red_cube_is_seen_from_above() -> None:
    needs_graphics()
    env = CellEnv("pick_place", cameras=("cam_high",), image_size=(135, 240))
    for seed in range(3):
        red, green, blue = np.moveaxis(env.reset(seed).images["cam_high"].astype(int), -1, 0)
        assert ((red > 1.6 * green) & (red > 1.6 * blue)).sum() > 20
    env.close()


def test_missing_graphics_library_is_named_with_its_packages(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(engine, "_MISSING", ["EGL"])
    with pytest.raises(DeviceError, match="EGL is missing; install it with: apt-get install"):
        CellRenderer(SimWorld(load_task("pick_place"))).render("cam_high", 72, 128)


def test_arm_target_of_wrong_length_is_refused() -> None:
    with pytest.raises(UsageError, match=r"\(6,\)"):
        SimWorld(load_task("pick_place")).set_arm_target("left", np.zeros(6))
