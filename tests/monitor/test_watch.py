"""Who is silent, who hangs, and when a cell counts as ready: the rules."""

import os

import pytest

from ate_core.errors import UsageError
from cell_monitor.readiness import Readiness
from cell_monitor.siblings import find_sibling
from cell_monitor.starvation import Starvation
from cell_monitor.watch import (
    BLIND_AFTER,
    ERROR,
    HUNG_AFTER,
    MOST_LINES,
    MOST_STRANGERS,
    OK,
    STALE,
    STALE_AFTER,
    WARN,
    DiagnosticsWatch,
    Health,
    WatchedNode,
    parse_nodes,
)

ARM = WatchedNode(
    name="/left/arm_driver", heartbeat="driver_node: left arm", managed=True, restarts=True
)
GRIPPER = WatchedNode(name="/left/gripper_driver", heartbeat="gripper_node: left", managed=True)
CAMERA = WatchedNode(
    name="/camera_top",
    heartbeat="camera_node: top",
    managed=True,
    optional=True,
    loss="no pictures of top",
)
RECORDER = WatchedNode(name="/recorder", heartbeat="recorder: state")
NODES = (ARM, GRIPPER, CAMERA, RECORDER)
WELL = Health(level=OK, text="", age=0.1)
NEVER = Health(level=STALE, text="not heard yet", age=float("inf"))


def look_often(watch, begin, end):
    """Look every tenth of a second, as the node does, and return the last result."""
    now = begin
    while now < end:
        health = watch.look(now)
        now += 0.1
    return health


def test_a_node_that_falls_silent_is_stale_within_two_seconds():
    watch = DiagnosticsWatch(NODES)
    assert watch.look(0.0)[ARM.name].text == "not heard yet"
    watch.take("driver_node: left arm", OK, "tracking", 0.0)
    assert look_often(watch, 0.1, STALE_AFTER - 0.1)[ARM.name] == Health(
        level=OK, text="", age=pytest.approx(1.6)
    )
    health = look_often(watch, STALE_AFTER - 0.1, 2.0)[ARM.name]
    assert health.level == STALE and health.text == "silent for 1.9 s"


def test_the_worst_line_of_a_node_counts_and_strangers_are_shown_too():
    watch = DiagnosticsWatch(NODES)
    watch.take("driver_node: left arm", OK, "tracking", 0.0)
    watch.take("driver_node: left arm temperatures", WARN, "joint 3 is at 71 C", 0.0)
    watch.take("somebody: else", ERROR, "broken", 0.0)
    health = watch.look(0.1)
    assert (health[ARM.name].level, health[ARM.name].text) == (WARN, "joint 3 is at 71 C")
    assert health["somebody: else"].level == ERROR


@pytest.mark.parametrize("order", [1, -1])
def test_a_dead_node_is_not_kept_alive_by_one_whose_name_goes_on_behind_its_own(order):
    names = ("camera_node: top", "camera_node: top_2", "camera_node: top_left", "x: a", "x: a b")
    nodes = [WatchedNode(name=f"/{name}", heartbeat=name) for name in names][::order]
    watch = DiagnosticsWatch(nodes)
    for name in names:
        watch.take(name, OK, "working", 0.0)
    watch.take("camera_node: top: encoder", ERROR, "broken", 0.0)
    watch.take("x: a b joints", ERROR, "hot", 0.0)
    ill = {name for name, one in watch.look(0.1).items() if one.level == ERROR}
    assert ill == {"/camera_node: top", "/x: a b"}, "further lines are of the node itself"
    for dead in names:
        watch = DiagnosticsWatch(nodes)
        for name in names:
            if name != dead:
                watch.take(name, OK, "working", 0.0)
        silent = {name for name, one in watch.look(0.1).items() if one.level == STALE}
        assert silent == {f"/{dead}"}


def test_invented_senders_fill_no_memory_and_hide_no_node():
    watch = DiagnosticsWatch(NODES)
    watch.take("driver_node: left arm", ERROR, "link lost", 0.0)
    for number in range(2000):
        watch.take(f"invented {number}: " + "x" * 10_000, OK, "y" * 10_000, 0.001 * number)
        watch.take(f"driver_node: left arm {number}", OK, "", 0.001 * number)
        watch.take("driver_node: left arm", ERROR, "link lost", 0.001 * number)
    assert len(watch._lines[ARM.name]) == MOST_LINES
    health = look_often(watch, 1.9, 2.1)
    assert len(health) == len(NODES) + MOST_STRANGERS
    assert (health[ARM.name].level, health[ARM.name].text) == (ERROR, "link lost")
    assert health[GRIPPER.name].text == "not heard yet"
    invented = [name for name in health if name.startswith("invented")]
    assert invented[0].startswith("invented 1936: ") and max(map(len, invented)) <= 500


def test_our_own_sleep_makes_nobody_stale():
    watch = DiagnosticsWatch(NODES)
    watch.take("recorder: state", OK, "", 0.0)
    watch.look(0.1)
    assert watch.look(0.1 + BLIND_AFTER + 10.0)["/recorder"].age == 0.0


def drive(readiness, now, states, health=None):
    return readiness.look(now, {**{node.name: WELL for node in NODES}, **(health or {})}, states)


def test_drivers_of_arms_and_grippers_become_active_together():
    readiness = Readiness(NODES, "go", 0.0)
    states = {ARM.name: "unconfigured", GRIPPER.name: "inactive", CAMERA.name: "inactive"}
    assert readiness.transition(ARM.name, states) == "configure"
    assert readiness.transition(GRIPPER.name, states) == ""
    assert readiness.transition(CAMERA.name, states) == "activate", "a camera moves nothing"
    states[ARM.name] = "inactive"
    assert {readiness.transition(name, states) for name in states} == {"activate"}


def test_ready_is_said_once_and_a_driver_that_comes_later_is_activated():
    readiness = Readiness(NODES, "press the button", 0.0)
    states = {ARM.name: "inactive", GRIPPER.name: "active", CAMERA.name: "active"}
    assert drive(readiness, 1.0, states) == []
    ((_, told),) = drive(readiness, 6.0, states)
    assert told == "waiting for /left/arm_driver (inactive)"
    assert drive(readiness, 7.0, states) == []
    states[ARM.name] = "active"
    assert drive(readiness, 8.0, states) == [(False, "READY: press the button")]
    assert drive(readiness, 9.0, states) == []
    states |= {ARM.name: "unconfigured", GRIPPER.name: "unconfigured"}
    assert readiness.transition(GRIPPER.name, states) == "configure"
    states[GRIPPER.name] = "inactive"
    assert readiness.transition(GRIPPER.name, states) == "activate", "it does not wait for the arm"
    assert drive(readiness, 10.0, states) == [
        (True, "DEGRADED: /left/arm_driver (unconfigured)"),
        (True, "DEGRADED: /left/gripper_driver (inactive)"),
    ]
    states[ARM.name] = "active"
    states[GRIPPER.name] = "active"
    assert (False, "recovered: /left/arm_driver") in drive(readiness, 11.0, states)


def test_a_driver_that_a_person_deactivated_stays_so_until_it_begins_anew():
    readiness = Readiness(NODES, "go", 0.0)
    states = dict.fromkeys((ARM.name, GRIPPER.name, CAMERA.name), "active")
    assert drive(readiness, 1.0, states) == [(False, "READY: go")]
    states[ARM.name] = "inactive"
    assert readiness.transition(ARM.name, states) == ""
    ((bad, told),) = drive(readiness, 2.0, states)
    assert bad and "deactivated by somebody" in told
    assert "ros2 lifecycle set /left/arm_driver activate" in told
    for heard, wanted in (("", ""), ("inactive", ""), ("unconfigured", "configure")):
        states[ARM.name] = heard
        assert readiness.transition(ARM.name, states) == wanted, "a hang changes nothing"
    states[ARM.name] = "inactive"
    assert readiness.transition(ARM.name, states) == "activate"


def test_a_driver_that_is_deactivated_while_others_are_waited_for_stays_so():
    readiness = Readiness(NODES, "go", 0.0)
    states = {ARM.name: "active", GRIPPER.name: "inactive"}
    assert readiness.transition(GRIPPER.name, states) == "activate"
    states[ARM.name] = "inactive"
    assert readiness.transition(ARM.name, states) == ""
    ((_, told),) = drive(readiness, 6.0, states)
    assert "waiting for" in told and "/left/arm_driver (inactive, deactivated" in told


def test_a_cell_is_not_called_ready_while_a_stop_is_on():
    readiness = Readiness(NODES, "go", 0.0)
    states = dict.fromkeys((ARM.name, GRIPPER.name, CAMERA.name), "active")
    stopped = {ARM.name: Health(level=WARN, text="stopped a hand in the cell", age=0.1)}
    ((bad, told),) = drive(readiness, 1.0, states, stopped)
    assert bad and "READY" not in told
    assert "/left/arm_driver: stopped a hand in the cell" in told and "ate stop --reset" in told
    assert drive(readiness, 2.0, states, stopped) == [], "said once"
    assert drive(readiness, 3.0, states) == [(False, "READY: go")]


def test_a_cell_is_ready_without_a_camera_and_says_so():
    readiness = Readiness(NODES, "go", 0.0)
    states = {ARM.name: "active", GRIPPER.name: "active"}
    assert drive(readiness, 1.0, states, {CAMERA.name: NEVER}) == []
    ((_, told),) = drive(readiness, 17.0, states, {CAMERA.name: NEVER})
    assert told == "READY: go; WITHOUT /camera_top (not heard yet): no pictures of top"
    states[CAMERA.name] = "active"
    assert drive(readiness, 18.0, states) == [(False, "recovered: /camera_top")]


def test_the_cell_as_a_whole_is_what_it_needs_and_lacks():
    readiness = Readiness(NODES, "go", 0.0)
    states = dict.fromkeys((ARM.name, GRIPPER.name, CAMERA.name), "active")
    silent = Health(level=STALE, text="silent for 2.0 s", age=2.0)
    drive(readiness, 1.0, states)
    assert readiness.verdict() == (OK, "ready")
    drive(readiness, 2.0, states, {CAMERA.name: silent})
    assert readiness.verdict() == (WARN, "/camera_top (silent for 2.0 s): no pictures of top")
    drive(readiness, 3.0, states, {CAMERA.name: silent, GRIPPER.name: silent})
    level, sentence = readiness.verdict()
    assert level == ERROR and sentence.startswith(f"{GRIPPER.name} (silent for 2.0 s)")
    assert sentence.endswith("; and 1 more")
    drive(readiness, 4.0, states)
    assert readiness.verdict() == (OK, "ready")


def test_a_cell_of_which_a_node_warns_is_not_well_as_a_whole():
    readiness = Readiness(NODES, "go", 0.0)
    states = dict.fromkeys((ARM.name, GRIPPER.name, CAMERA.name), "active")
    slow = Health(level=WARN, text="3.0 Hz instead of 30 Hz", age=0.1)
    stopped = Health(level=WARN, text="stopped: arm/stop was called", age=0.1)
    silent = Health(level=STALE, text="silent for 2.0 s", age=2.0)
    drive(readiness, 1.0, states)
    drive(readiness, 2.0, states, {CAMERA.name: slow})
    assert readiness.verdict() == (WARN, "/camera_top (3.0 Hz instead of 30 Hz)")
    drive(readiness, 3.0, states, {CAMERA.name: silent, ARM.name: stopped})
    level, sentence = readiness.verdict()
    assert level == WARN
    assert sentence == "/left/arm_driver (stopped: arm/stop was called); and 1 more"
    drive(readiness, 4.0, states, {GRIPPER.name: silent, ARM.name: stopped})
    level, sentence = readiness.verdict()
    assert level == ERROR and sentence.startswith(f"{GRIPPER.name} (silent")
    drive(readiness, 5.0, states)
    assert readiness.verdict() == (OK, "ready")


def test_a_cell_that_waits_for_the_end_of_a_stop_is_not_well_as_a_whole():
    readiness = Readiness(NODES, "go", 0.0)
    states = dict.fromkeys((ARM.name, GRIPPER.name, CAMERA.name), "active")
    drive(readiness, 1.0, states, {ARM.name: Health(level=WARN, text="stopped", age=0.1)})
    assert not readiness.ready
    assert readiness.verdict() == (WARN, "/left/arm_driver (stopped)")


def test_a_driver_without_a_lifecycle_is_taken_as_it_is():
    readiness = Readiness((ARM,), "go", 0.0)
    assert readiness.look(0.0, {ARM.name: WELL}, {}) == []
    assert readiness.look(4.0, {ARM.name: WELL}, {}) == [(False, "READY: go")]


@pytest.mark.parametrize(
    ("age", "hung", "waited"), [(3.9, False, False), (20.0, False, True), (30.1, True, False)]
)
def test_a_recorder_that_saves_is_waited_for_as_long_as_saving_may_take(age, hung, waited):
    recorder = WatchedNode(
        name="/recorder", heartbeat="recorder: state", restarts=True, patience=30.0
    )
    silent = Health(level=STALE, text=f"silent for {age} s", age=age)
    assert (silent.is_hung(recorder), silent.is_waited_for(recorder)) == (hung, waited)
    assert silent.is_hung(ARM) == (age > HUNG_AFTER)
    assert not NEVER.is_hung(recorder) and not NEVER.is_waited_for(recorder)


def test_silence_in_which_a_node_waited_for_a_processor_is_no_hang():
    silent = Health(level=STALE, text="silent for 9 s", age=9.0)
    assert silent.is_hung(ARM) and not silent.is_starved(ARM, 0.0)
    assert silent.is_hung(ARM, 4.9) and not silent.is_starved(ARM, 4.9)
    assert not silent.is_hung(ARM, 5.1) and silent.is_starved(ARM, 5.1)
    short = Health(level=STALE, text="silent for 3 s", age=3.0)
    assert not short.is_hung(ARM, 2.0) and not short.is_starved(ARM, 2.0)


def thread(tasks, number, state, run, waited):
    folder = tasks / str(number)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "stat").write_text(f"{number} (a (b) c) {state} 1 1\n")
    (folder / "schedstat").write_text(f"{run:.0f} {waited:.0f} 7\n")


def test_longest_wait_of_a_thread_is_that_of_its_process(tmp_path):
    tasks = tmp_path / "42" / "task"
    starvation = Starvation(42, tmp_path)
    thread(tasks, 42, "S", 1e9, 30e9)
    thread(tasks, 43, "R", 1e9, 2e9)
    assert starvation.look(10.0) == 0.0, "what was before the silence explains none of it"
    thread(tasks, 42, "S", 1e9, 30.5e9)
    assert starvation.look(11.0) == pytest.approx(1.0), "43 has neither run nor ended its wait"
    thread(tasks, 43, "R", 1.1e9, 5e9)
    assert starvation.look(13.0) == pytest.approx(3.0), "its wait is over, and counted once"
    thread(tasks, 43, "S", 1.1e9, 5e9)
    assert starvation.look(20.0) == pytest.approx(3.0), "now it sleeps, as one that hangs"


def test_what_is_stopped_computes_or_is_gone_does_not_starve(tmp_path):
    tasks = tmp_path / "42" / "task"
    starvation = Starvation(42, tmp_path)
    thread(tasks, 42, "T", 1e9, 2e9)
    thread(tasks, 43, "R", 1e9, 2e9)
    starvation.look(0.0)
    thread(tasks, 43, "R", 4e9, 2e9)
    assert starvation.look(3.0) == 0.0
    assert Starvation(43, tmp_path).look(9.0) == 0.0
    (tasks / "42" / "schedstat").unlink()
    (tasks / "43" / "schedstat").write_text("")
    assert starvation.look(9.0) == 0.0, "a kernel that does not count"


def test_a_wrong_list_of_nodes_is_refused():
    with pytest.raises(UsageError, match="parameter nodes"):
        parse_nodes('[{"name": "/a", "speed": 3}]')
    assert parse_nodes('[{"name": "/a", "heartbeat": "a: b"}]')[0].restarts is False


def fake_process(proc, pid, words, parent, started=100):
    folder = proc / str(pid)
    folder.mkdir()
    (folder / "cmdline").write_bytes(b"\0".join(word.encode() for word in words))
    fields = ["S", str(parent), *["0"] * 17, str(started), "0"]
    (folder / "stat").write_text(f"{pid} (python (3)) {' '.join(fields)}\n")


def test_only_a_process_of_the_same_launch_is_found_by_its_node(tmp_path):
    (tmp_path / "uptime").write_text("21.0 3.0\n")
    left = ["python", "-m", "x", "-r", "__node:=arm_driver", "-r", "__ns:=/left"]
    fake_process(tmp_path, 11, left, os.getppid())
    fake_process(tmp_path, 12, left, os.getppid() + 1)
    fake_process(tmp_path, 13, ["python", "__node:=recorder"], os.getppid())
    found = find_sibling("/left/arm_driver", tmp_path)
    assert found.pid == 11 and found.age == pytest.approx(20.0)
    assert find_sibling("/recorder", tmp_path).pid == 13
    assert find_sibling("/arm_driver", tmp_path) is None
    fake_process(tmp_path, 14, left, os.getppid())
    assert find_sibling("/left/arm_driver", tmp_path) is None, "two of them: neither is certain"
