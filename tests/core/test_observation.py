"""Observations: the layout's order, the action convention, and refusals that name the stream."""

import numpy as np
import pytest

from ate_core.contract import load_cell
from ate_core.errors import LayoutError
from ate_core.observation import (
    LiveBuffer,
    Observation,
    ObservationBuilder,
    Refusal,
    StreamLimits,
)
from ate_core.resample import make_series

MS = 1_000_000
PERIOD = 50 * MS


@pytest.fixture
def cell(runtime_dir):
    return load_cell(None, "sim")


def hold(value, size):
    """A stream that had one value from the beginning."""
    return make_series([0], [np.full(size, float(value))])


def measured():
    """Every measured stream, each with a number of its own."""
    return {
        "left_arm_state": make_series([0], [np.r_[np.full(7, 1.0), np.full(7, 10.0)]]),
        "left_gripper_state": hold(0.2, 1),
        "right_arm_state": make_series([0], [np.r_[np.full(7, 3.0), np.full(7, 30.0)]]),
        "right_gripper_state": hold(0.4, 1),
        "left_wrench": hold(5, 6),
        "right_wrench": hold(6, 6),
    }


def test_state_stands_left_before_right_with_each_gripper_behind_its_arm(cell):
    state = ObservationBuilder(cell).state(measured(), np.array([0]))[0]
    assert state.dtype == np.float32
    np.testing.assert_allclose(state, [1] * 7 + [0.2] + [3] * 7 + [0.4])


def test_velocity_and_wrench_stand_left_before_right(cell):
    builder = ObservationBuilder(cell)
    np.testing.assert_array_equal(builder.velocity(measured(), [0])[0], [10] * 7 + [30] * 7)
    np.testing.assert_array_equal(builder.wrench(measured(), [0])[0], [5] * 6 + [6] * 6)


def test_action_is_the_command_in_force_one_tick_later(cell):
    series = measured()
    stamps = [30 * MS, PERIOD, PERIOD + 1, 3 * PERIOD]
    series["left_arm_command"] = make_series(stamps, [np.full(7, v) for v in (11, 12, 13, 14)])
    ticks = np.arange(3) * PERIOD
    action = ObservationBuilder(cell).action(series, ticks, PERIOD)
    np.testing.assert_array_equal(action[:, 0], [12, 13, 14])


def test_where_nobody_commands_an_arm_the_action_is_where_it_is_held_or_goes(cell):
    """Commands at 100 and 150 ms, obeyed for 100 ms; an arm that homes is moved by nobody."""
    series, builder, ticks = measured(), ObservationBuilder(cell), np.arange(8) * PERIOD
    moving = [np.full(14, float(v)) for v in range(9)]
    series["left_arm_state"] = make_series(np.arange(9) * PERIOD, moving)
    commanded = [np.full(7, 50.0), np.full(7, 51.0)]
    series["left_arm_command"] = make_series([2 * PERIOD, 3 * PERIOD], commanded)
    series["left_gripper_command"] = make_series([2 * PERIOD], [[0.9]])
    action = builder.action(series, ticks, PERIOD)
    np.testing.assert_array_equal(action[:, 0], [1, 50, 51, 51, 51, 6, 7, 8])
    state = builder.state(series, ticks)
    np.testing.assert_array_equal(action[5:-1, :7], state[6:, :7])
    np.testing.assert_allclose(action[:, 7], [0.2, *[0.9] * 7], atol=1e-6)  # it keeps its grip


def fill(live, stamp_ns):
    """Give a live buffer one sample of every measured stream."""
    for name, series in measured().items():
        live.add(name, stamp_ns, series.values[0])


def test_a_live_buffer_answers_with_the_state_at_the_tick(cell):
    live = LiveBuffer(cell)
    fill(live, 100 * MS)
    live.add("left_gripper_state", 130 * MS, [0.9])  # later than the tick
    seen = live.observe(120 * MS, "pick it up")
    assert isinstance(seen, Observation)
    assert seen.instruction == "pick it up" and seen.stamp_ns == 120 * MS
    np.testing.assert_allclose(seen.state, [1] * 7 + [0.2] + [3] * 7 + [0.4])
    assert seen.environment is None and dict(seen.images) == {}


def test_a_stale_stream_is_refused_with_its_name_age_and_bound(cell):
    live = LiveBuffer(cell, limits=StreamLimits(joints=0.1))
    fill(live, 0)
    for name in ("left_arm_state", "left_gripper_state", "right_gripper_state"):
        live.add(name, 300 * MS, measured()[name].values[0])
    refused = live.observe(310 * MS)
    assert isinstance(refused, Refusal)
    assert str(refused) == "/right/arm/joint_states is 310 ms old (bound 100 ms)"
    assert refused.age == pytest.approx(0.31) and refused.bound == 0.1


def test_a_stream_that_never_came_is_refused(cell):
    refused = LiveBuffer(cell).observe(5)
    assert isinstance(refused, Refusal) and "no sample yet" in str(refused)


def test_a_value_that_is_not_finite_is_refused(cell):
    live = LiveBuffer(cell)
    fill(live, 0)
    live.add("right_gripper_state", MS, [np.nan])
    assert "not finite" in str(live.observe(2 * MS))


def test_images_are_decoded_only_when_they_are_seen(cell):
    decoded = []

    def decode(data):
        decoded.append(data)
        return np.zeros((2, 2, 3), np.uint8)

    live = LiveBuffer(cell, cameras=("cam_high",), decoder=decode)
    fill(live, 0)
    for index in range(5):
        live.add("cam_high", index * MS, b"jpeg %d" % index)
    seen = live.observe(3 * MS)
    assert isinstance(seen, Observation) and seen.images["cam_high"].shape == (2, 2, 3)
    assert decoded == [b"jpeg 3"]


def test_a_picture_that_cannot_be_decoded_is_refused_by_its_stream_and_the_next_one_seen(cell):
    def decode(data):
        if data == b"half":
            raise LayoutError("an image of 4 bytes is no JPEG: check the camera")
        return np.zeros((2, 2, 3), np.uint8)

    live = LiveBuffer(cell, cameras=("cam_high",), decoder=decode)
    fill(live, 0)
    live.add("cam_high", MS, b"half")
    refused = live.observe(2 * MS)
    assert (
        isinstance(refused, Refusal) and refused.stream == "/cameras/overhead/image_raw/compressed"
    )
    assert "is no JPEG" in str(refused)
    live.add("cam_high", 3 * MS, b"whole")
    assert isinstance(live.observe(4 * MS), Observation)


def test_cameras_without_a_decoder_or_unknown_to_the_cell_are_refused(cell):
    with pytest.raises(LayoutError, match="decoder"):
        LiveBuffer(cell, cameras=("cam_high",))
    with pytest.raises(LayoutError, match="cam_low"):
        LiveBuffer(cell, cameras=("cam_low",), decoder=lambda data: np.zeros((1, 1, 3), np.uint8))


def test_another_number_of_objects_replaces_the_old_scene(cell):
    live = LiveBuffer(cell, use_environment=True)
    fill(live, 0)
    live.add("objects", 0, np.zeros((2, 7)))
    live.add("objects", MS, np.ones((3, 7)))
    seen = live.observe(2 * MS)
    assert isinstance(seen, Observation) and seen.environment.shape == (3, 7)


def test_a_live_buffer_forgets_what_is_older_than_its_history(cell):
    live = LiveBuffer(cell, history=0.1)
    for index in range(1000):
        fill(live, index * 10 * MS)
    assert all(len(history.samples) <= 12 for history in live._history.values())


def fed_buffer(cell, *, camera_lead_ms: float = 0.0, step_s: float = 0.0):
    """A buffer fed for three seconds; the camera's clock is ahead, or all clocks are set."""
    buffer = LiveBuffer(
        cell, cameras=["cam_high"], decoder=lambda _: np.zeros((2, 2, 3), np.uint8)
    )
    seen = None
    for tick in range(60):
        now = 10**15 + tick * 50_000_000 + round(1e9 * step_s * (tick >= 30))
        for spec in buffer.needed:
            value = np.ones(2 * len(spec.joint_names) or 1)
            ahead = round(1e6 * camera_lead_ms) if spec.kind == "image" else 0
            sample = b"jpeg" if spec.kind == "image" else value
            buffer.add(spec.name, now - 5_000_000 + ahead, sample, now)
        seen = buffer.observe(now)
    return seen


@pytest.mark.parametrize("lead_ms", [-150.0, 0.0, 40.0])
def test_a_stream_stamped_by_a_clock_that_is_a_little_off_is_taken(cell, lead_ms):
    assert isinstance(fed_buffer(cell, camera_lead_ms=lead_ms), Observation)


@pytest.mark.parametrize("lead_ms", [100.0, 150.0, 500.0, 3.6e6])
def test_a_stream_stamped_in_the_future_is_refused_by_name_with_its_lead(cell, lead_ms):
    refusal = fed_buffer(cell, camera_lead_ms=lead_ms)
    assert isinstance(refusal, Refusal) and refusal.stream.startswith("/cameras/overhead")
    assert f"is stamped {lead_ms - 5:.0f} ms in the future (bound 50 ms)" in str(refusal)


@pytest.mark.parametrize("step_s", [-0.2, -0.5, -1.9])
def test_after_a_clock_was_set_back_nothing_from_before_is_shown(cell, step_s):
    live, shown = LiveBuffer(cell), []
    for tick in range(120):
        now = 10**15 + tick * 20 * MS + round(1e9 * step_s * (tick >= 60))
        stamp = now - (3 + 9 * tick % 14) * MS  # they are under way for 3 to 16 ms
        for spec in live.needed:
            live.add(spec.name, stamp, np.full(2 * len(spec.joint_names) or 1, tick), now)
        seen = live.observe(now)
        if isinstance(seen, Observation):
            shown.append((tick, seen.state[0]))
    assert all(tick - of <= 1 for tick, of in shown)
    assert len(shown) >= 118


@pytest.mark.parametrize("step_s", [-3600.0, -1.0, 1.0, 3600.0])
def test_a_clock_that_is_set_on_this_machine_ends_no_observation_for_long(cell, step_s):
    assert isinstance(fed_buffer(cell, step_s=step_s), Observation)
