"""What the page shows is what was told, with its age; nothing old is shown as present."""

import json

import numpy as np
import pytest

from ate_cockpit.card import EpisodeCard
from ate_cockpit.figure import CellFigure
from ate_cockpit.view import MOST_LINES, CellView, Stream
from ate_core.contract import load_cell
from ate_core.episode_folders import EpisodeFolders
from ate_core.episode_outcome import write_outcome

CELL = load_cell(None, "sim")
HOME = {side: np.array(arm.home) for side, arm in CELL.arms.items()}


def test_a_stream_tells_its_rate_and_age_and_when_it_fell_silent():
    stream = Stream()
    assert stream.document(0.0) == {"rate": 0.0, "age": None, "silent": True}
    for tick in range(300):
        stream.hear(tick * 0.01)
    assert stream.document(3.0) == {"rate": 100.0, "age": 0.01, "silent": False}
    assert stream.document(5.5)["silent"] and stream.document(5.5)["rate"] == 0.0


def test_an_arm_that_is_heard_no_more_is_not_drawn_as_if_it_were():
    view = CellView(CELL)
    view.take_joints("left", HOME["left"], 10.0)
    view.take_command("left", HOME["left"], 10.0)
    assert set(view.joints(10.5)) == set(view.targets(10.5)) == {"left"}
    assert view.joints(12.0) == view.targets(12.0) == {}
    assert view.document(12.0)["arms"]["left"]["states"]["silent"]


def test_no_value_outlives_its_source():
    view = CellView(CELL)
    view.take_opening("left", 0.47, 10.0)
    view.take_force("left", (0.0, 0.0, 12.3), 10.0)
    view.take_loop("driver_node: left arm", "100 Hz", 10.0)
    view.take_health("/left/arm_driver", 2, "joint 3 too hot", 10.0)
    arm = view.document(10.9)["arms"]["left"]
    assert (arm["opening"], arm["force"]) == (0.47, 12.3)
    assert view.document(10.9)["loops"] and view.document(10.9)["health"]
    document = view.document(3600.0)
    arm = document["arms"]["left"]
    assert (arm["opening"], arm["force"]) == (None, None)
    assert document["loops"] == document["health"] == {}


def test_an_emergency_stop_that_nobody_tells_any_more_is_named_unheard():
    view = CellView(CELL)
    assert not view.document(0.0)["estop"]["heard"]
    view.take_estop({"stopped": True, "reason": "a hand in the cell"}, 1.0)
    assert view.document(1.5)["estop"] == {
        "stopped": True, "reason": "a hand in the cell", "heard": True,
    }  # fmt: skip
    assert not view.document(3.0)["estop"]["heard"]


def test_a_monitor_that_falls_silent_leaves_no_cell_that_seems_well():
    view = CellView(CELL)
    assert view.document(0.0)["whole"] == {}, "no monitor runs"
    view.take_whole(0, "ready", 1.0)
    assert view.document(3.9)["whole"] == {"level": "ok", "message": "ready"}
    assert view.document(4.1)["whole"]["level"] == "error"
    assert "nobody watches" in view.document(4.1)["whole"]["message"]
    view.take_whole(200, "invented", 5.0)
    assert view.document(5.0)["whole"]["level"] == "stale"


@pytest.mark.parametrize("document", [{}, {"stopped": "no"}, {"stopped": None}])
def test_an_emergency_stop_that_says_nothing_is_no_green_light(document):
    view = CellView(CELL)
    view.take_estop(document, 1.0)
    assert not view.document(1.0)["estop"]["heard"]


def test_invented_names_of_diagnostics_do_not_fill_the_memory():
    view = CellView(CELL)
    for number in range(1000):
        view.take_health(f"node {number}", 200, "invented", 0.0)
        view.take_loop(f"node {number}", "invented", 0.0)
    document = view.document(0.0)
    assert len(document["health"]) == len(document["loops"]) == MOST_LINES
    assert {line["level"] for line in document["health"].values()} == {"stale"}
    view.take_health("/left/arm_driver", 0, "well", 10.0)
    assert list(view.document(10.0)["health"]) == ["/left/arm_driver"]


def test_the_words_of_the_page_are_json():
    view = CellView(CELL)
    view.take_joints("left", HOME["left"], 1.0)
    view.take_force("left", (3.0, 4.0, 0.0), 1.0)
    text = json.dumps(view.document(1.0), allow_nan=False)
    assert json.loads(text)["arms"]["left"]["force"] == 5.0


def test_the_drawn_gripper_is_where_the_grasp_point_is():
    figure = CellFigure(CELL)
    for side, q in HOME.items():
        lines = np.array(figure.arm(side, q))
        figure._geometry.update(np.concatenate([HOME[name] for name in CELL.arms]))
        tool = figure._geometry.tool(side)
        ends = lines[:, :6].reshape(-1, 3)
        assert np.min(np.linalg.norm(ends - tool, axis=1)) < 0.08
        assert np.allclose(ends[0][:2], CELL.arms[side].base_pose[:2], atol=1e-3)


def test_what_is_nearest_is_told_first_and_nothing_while_an_arm_is_unknown():
    figure = CellFigure(CELL)
    near = figure.near(HOME)
    left = [pair["distance"] - pair["stop"] for pair in near]
    assert len(near) == 3 and left == sorted(left)
    assert figure.near({"left": HOME["left"]}) == []


def test_a_card_counts_lost_clutches_and_the_time_at_the_edge_of_its_own_episode():
    card = EpisodeCard(("left", "right"))
    engaged, lost = {"clutch": "engaged"}, {"clutch": "released", "reason": "hand not seen"}
    assert card.document(0.0) == {}
    card.see_operator("left", engaged, 0.0)
    card.see_operator("left", lost, 1.0)  # before the episode
    card.see_episode({"state": "recording", "episode": 7, "seconds": 0.0, "dropped": 0})
    card.see_operator("left", {**engaged, "out_of_reach": True}, 2.0)
    card.see_operator("left", lost, 4.5)
    card.see_operator("right", engaged, 5.0)
    card.see_operator("right", {"clutch": "released", "reason": ""}, 5.0)  # let go on purpose
    streams = {"left_joints": {"gaps": 2}, "cam_high": {"gaps": 0}}
    card.see_episode(
        {"state": "recording", "episode": 7, "seconds": 6.0, "dropped": 1, "streams": streams}
    )
    card.see_episode({"state": "pending", "episode": 7})
    assert card.document(9.0) == {
        "episode": 7, "seconds": 6.0, "dropped": 1, "gaps": {"left_joints": 2},
        "hands": {"left": {"losses": 1, "edge": 2.5}, "right": {"losses": 0, "edge": 0.0}},
    }  # fmt: skip
    card.see_episode({"state": "recording", "episode": 8, "seconds": 0.1, "dropped": 0})
    assert card.document(9.0)["hands"]["left"] == {"losses": 0, "edge": 0.0}


def test_episodes_are_listed_newest_first_with_what_became_of_them(tmp_path):
    assert EpisodeFolders(tmp_path / "absent").newest(20) == []
    for number in range(30):
        (tmp_path / f"episode_{number:06d}").mkdir()
    (tmp_path / "episode_000030.discarded").mkdir()
    write_outcome(tmp_path / "episode_000029", "failure", "", 0)
    (tmp_path / "episode_000028" / "outcome.json").write_text("{broken")
    discarded, *listed = EpisodeFolders(tmp_path).newest(20)
    assert discarded == {"name": "episode_000030", "outcome": "discarded"}
    assert len(listed) == 19
    assert listed[0] == {"name": "episode_000029", "outcome": "failure"}
    assert "cannot be read" in listed[1]["outcome"]


@pytest.mark.parametrize("document", [{}, {"state": 5}, {"state": "recording", "streams": 3}])
def test_a_strange_status_of_the_recorder_ends_nothing(document):
    view = CellView(CELL)
    view.take_episode(document)
    assert json.dumps(view.document(0.0))
    assert view.output is None


def test_the_strip_shows_the_stages_of_operator_and_arm_and_what_is_beyond_its_bounds():
    view = CellView(CELL)
    view.take_status(
        "left", "operator", {"latency_ms": {"wake": [0.2, 12.0], "total": [0.9, 24.0]}}, 0.0
    )
    view.take_status("left", "arm", {"latency_ms": {"receipt": [6.0, 12.0]}}, 0.0)
    strip = view.document(0.0)["arms"]["left"]["latency"]
    assert [tuple(one.values()) for one in strip] == [
        ("wake", 0.2, 12.0, "warn"),
        ("total", 0.9, 24.0, "error"),
        ("receipt", 6.0, 12.0, "ok"),
    ]
    assert view.document(0.0)["arms"]["right"]["latency"] == []


@pytest.mark.parametrize("strange", [3, [1], {"wake": 1}, {"wake": [1]}, {"wake": ["a", "b"]},
                                     {"wake": [float("nan"), 1.0]}, {"wake": None}])  # fmt: skip
def test_strange_times_of_stages_are_left_out_of_the_strip(strange):
    view = CellView(CELL)
    view.take_status("left", "operator", {"latency_ms": strange}, 0.0)
    assert view.document(0.0)["arms"]["left"]["latency"] == []


def working_cell(now=10.0, whole=(0, "ready")):
    """A view of a cell in which all is well, and looked at by a monitor."""
    view = CellView(CELL)
    view.take_estop({"stopped": False, "reason": ""}, now)
    for side in CELL.arms:
        view.take_joints(side, HOME[side], now)
        for kind in ("arm", "gripper"):
            view.take_status(side, kind, {"state": "connected", "reason": ""}, now)
    if whole is not None:
        view.take_whole(*whole, now)
    return view


def shown(view, now=10.1):
    headline = view.document(now)["headline"]
    return headline["level"], headline["text"]


def test_the_headline_is_green_where_all_is_well_and_somebody_watches():
    for state in ("connected", "tracking", "homing", "holding"):
        view = working_cell()
        view.take_status("left", "arm", {"state": state}, 10.0)
        view.take_status("right", "gripper", {"state": state}, 10.0)
        assert shown(view) == ("good", "ready")


@pytest.mark.parametrize("kind", ["arm", "gripper"])
@pytest.mark.parametrize(
    ("state", "level"),
    [("stopped", "warn"), ("not_ready", "warn"), ("invented", "warn"), (None, "warn"),
     (["connected"], "warn"), ("fault", "bad"), ("disconnected", "bad"), ("no_feedback", "bad")],
)  # fmt: skip
def test_no_arm_and_no_gripper_that_does_not_follow_leaves_the_headline_green(kind, state, level):
    view = working_cell()
    view.take_status("right", kind, {"state": state}, 10.0)
    told = "unheard" if state is None else state
    assert shown(view) == (level, f"right {kind} {told}")
    view.take_episode({"state": "recording", "episode": 4})
    assert shown(view)[0] == ("recording" if level == "warn" else "bad")
    view.take_status("right", kind, {"state": "tracking"}, 10.0)
    view.take_episode({"state": "idle"})
    assert shown(view) == ("good", "ready")


def test_a_cell_that_nobody_watches_is_not_green_and_its_silent_streams_are_named():
    view = CellView(CELL)
    view.take_estop({"stopped": False}, 10.0)
    level, text = shown(view)
    assert level == "warn" and "ready" not in text and "nobody watches the cell" in text
    assert "left arm unheard" in text and "camera overhead silent" in text
    view = working_cell(whole=None)
    for role, camera in CELL.cameras.items():
        period = 1.0 / camera.fps if role == "overhead" else 0.3
        for count in reversed(range(1 + round(2.0 / period))):
            view.take_picture(role, b"", 10.0 - count * period)
    unwatched = "nobody watches the cell: no monitor is heard"
    wrists = "camera left_wrist slow: 3.5 Hz; camera right_wrist slow: 3.5 Hz"
    assert shown(view, 10.0) == ("warn", f"{unwatched}; {wrists}")
    view.take_estop({"stopped": False}, 12.0)
    assert "left arm silent; right arm silent; camera overhead silent" in shown(view, 12.0)[1]


@pytest.mark.parametrize(
    ("whole", "shows"),
    [((1, "/camera_top (3.0 Hz)"), ("warn", "ready; /camera_top (3.0 Hz)")),
     ((2, "/recorder (silent)"), ("bad", "/recorder (silent)")),
     ((3, "invented"), ("bad", "invented"))],
)  # fmt: skip
def test_what_the_monitor_says_of_the_whole_cell_colours_the_headline(whole, shows):
    assert shown(working_cell(whole=whole)) == shows


def test_a_folder_that_takes_no_episode_leaves_no_green_headline():
    view = working_cell()
    view.take_episode({"state": "idle", "trouble": "/data cannot be written"})
    assert shown(view) == ("warn", "recorder: /data cannot be written")
