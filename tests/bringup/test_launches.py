"""Launches name real modules, and bad arguments are refused in one line."""

import dataclasses
import importlib.util
import socket
from pathlib import Path

import pytest
import yaml

from ate_bringup import preflight, processes, supervisor
from ate_bringup.cli import VERBS, main
from ate_bringup.launches import DUAL_OPERATOR, LAUNCHES, ROBOT, find_launch
from ate_bringup.specs import ProcessSpec
from ate_core.contract import load_cell, packaged_cell
from ate_core.errors import DeviceError, UsageError

GIVEN = {
    "dual_operator": {"hardware": "sim", "episodes": "3", "report": "r.jsonl"},
    "deploy": {"hardware": "sim", "checkpoint": "runs/x", "episodes": "2"},
    "robot": {"hardware": "sim"},
    "view": {"hardware": "sim"},
}
SERVED = ["ate_policy", "deploy.launch.py", "policy_server:=ws://x:1"]
PLAYED = ["ate_policy", "deploy.launch.py", "checkpoint:=x"]
NO_SERVER = ("http://x:1", "x:1", "ws://x", "ws://:1", "ws://x:port", "ws://x:99999", "ws://[x:1")


@pytest.mark.parametrize("name", LAUNCHES)
def test_every_process_is_a_module_that_exists(name, runtime_dir):
    for spec in LAUNCHES[name].processes(GIVEN[name]):
        found = importlib.util.find_spec(spec.module)
        assert found is not None, spec.module
        assert spec.environment["ATE_RUNTIME_DIR"] == runtime_dir


@pytest.mark.parametrize("text", ["😀", "put it: down", "a\x85b\x7f", 'a "b"\n', "12", ""])
def test_a_text_reaches_its_node_as_it_was_given(text):
    spec = ProcessSpec(name="node", module="ate_policy.nodes.policy_node", parameters={"a": text})
    given = spec.command()[-1]
    assert given.isascii() and "\\ud" not in given, "the parser of ROS takes no half a mark"
    assert yaml.safe_load(given.removeprefix("a:=")) == text


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ({"output": ""}, r"output:= is not allowed; need a value, or .* output:=runs/bags"),
        ({"cockpit": "true", "cockpit_port": "70000"}, "cockpit_port:=70000 .* 0 to 65535"),
        ({"seed": "99999999999999999999999"}, "seed:=9+ is not allowed; need .* to 4294967295"),
        ({"seed": "9" * 5000}, "seed:=9+ is not allowed"),
    ],
)
def test_a_value_that_fails_only_after_the_start_is_refused(words, told):
    with pytest.raises(UsageError, match=told):
        DUAL_OPERATOR.resolve({"hardware": "sim", **words})


@pytest.mark.parametrize("name", LAUNCHES)
def test_a_simulated_cell_is_not_heard_on_the_network(name, runtime_dir, monkeypatch):
    monkeypatch.delenv("ROS_AUTOMATIC_DISCOVERY_RANGE", raising=False)
    ranges = {
        spec.environment["ROS_AUTOMATIC_DISCOVERY_RANGE"]
        for spec in LAUNCHES[name].processes(GIVEN[name])
    }
    assert ranges == {"LOCALHOST"}
    given = {k: v for k, v in GIVEN[name].items() if k == "checkpoint"}
    for spec in LAUNCHES[name].processes(given):  # real devices: as the user set it
        assert "ROS_AUTOMATIC_DISCOVERY_RANGE" not in spec.environment


def test_a_real_cell_that_names_a_runtime_folder_is_heard_on_the_network(tmp_path, monkeypatch):
    monkeypatch.delenv("ROS_AUTOMATIC_DISCOVERY_RANGE", raising=False)
    file = tmp_path / "cell.yaml"
    file.write_text(f"{packaged_cell().read_text()}\nruntime_dir: {tmp_path}\n")
    for spec in LAUNCHES["robot"].processes({"cell": str(file)}):
        assert "ROS_AUTOMATIC_DISCOVERY_RANGE" not in spec.environment


@pytest.mark.parametrize("name", LAUNCHES)
def test_real_hardware_runs_the_same_nodes_without_the_emulators(name, runtime_dir):
    given = {k: v for k, v in GIVEN[name].items() if k == "checkpoint"}
    real = {(s.namespace, s.name): s.module for s in LAUNCHES[name].processes(given) if s.is_node}
    simulated = {
        (s.namespace, s.name): s.module
        for s in LAUNCHES[name].processes(GIVEN[name])
        if s.is_node and s.name != "scene"
    }
    assert real == simulated
    assert all(spec.is_node for spec in LAUNCHES[name].processes(given))


@pytest.mark.parametrize(("episodes", "ends"), [("0", ["world"]), ("1", ["world", "people"])])
def test_the_world_and_the_scripted_people_end_the_launch(episodes, ends, runtime_dir):
    launch = find_launch("ate_teleop", "dual_operator.launch.py")
    specs = launch.processes({"hardware": "sim", "episodes": episodes})
    assert [spec.name for spec in specs if spec.ends_launch] == ends


def test_a_perturbation_reaches_the_world_and_an_unknown_one_starts_nothing(runtime_dir):
    deploy = LAUNCHES["deploy"]
    words = {"perturbation": "light_low+distractors"}
    world = next(s for s in deploy.processes({**GIVEN["deploy"], **words}) if s.name == "world")
    assert world.arguments[-2:] == ("--perturbation", "light_low+distractors")
    with pytest.raises(UsageError, match="perturbation is 'dark'; use one of"):
        deploy.processes({**GIVEN["deploy"], "perturbation": "dark"})
    with pytest.raises(
        UsageError, match="says nothing without hardware:=sim: on the real cell, change"
    ):
        deploy.processes({"checkpoint": "x", "hardware": "real", **words})


def test_a_folder_that_is_no_session_to_be_scored_starts_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(preflight, "checks_before_launch", lambda *_: [])
    launch = LAUNCHES["deploy"]
    words = {"cockpit": "true", "cockpit_score": str(tmp_path)}
    with pytest.raises(DeviceError, match="is no whole session"):
        preflight.refuse_to_launch(launch, launch.resolve({**GIVEN["deploy"], **words}))
    preflight.refuse_to_launch(launch, launch.resolve(GIVEN["deploy"]))


def test_a_deployment_says_where_and_in_what_precision_its_network_runs(runtime_dir):
    given = {**GIVEN["deploy"], "device": "cuda:1", "precision": "bf16"}
    policies = [
        spec
        for values in (GIVEN["deploy"], given)
        for spec in LAUNCHES["deploy"].processes(values)
        if spec.name == "policy"
    ]
    chosen = [(spec.parameters["device"], spec.parameters["precision"]) for spec in policies]
    assert chosen == [("auto", "auto"), ("cuda:1", "bf16")]


@pytest.mark.parametrize("hardware", ["real", "sim"])
@pytest.mark.parametrize(
    ("given", "more"),
    [
        ({}, set()),
        ({"record": "true"}, {"recorder"}),
        ({"operators": "true"}, {"operator", "people"}),
        ({"operators": "true", "record": "true"}, {"operator", "people", "recorder"}),
    ],
)
def test_operators_and_recorder_stand_by_a_policy_where_that_is_asked(
    given, more, hardware, runtime_dir
):
    specs = LAUNCHES["deploy"].processes({"checkpoint": "x", "hardware": hardware, **given})
    standing = {spec.name for spec in specs} & {"operator", "people", "recorder"}
    assert standing == (more if hardware == "sim" else more - {"people"})
    (monitor,) = [spec for spec in specs if spec.name == "monitor"]
    following = str(monitor.parameters["following"])
    assert ("the next one moves the arm" in following) == ("operators" in given)
    assert ("episodes go to" in following) == ("record" in given)


def test_a_taken_port_is_refused_before_anything_starts(runtime_dir, capsys):
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        taken.bind(("127.0.0.3", 8080))
        taken.listen()
        assert main(["launch", "ate_teleop", "dual_operator.launch.py", "hardware:=sim"]) == 1
    error = capsys.readouterr().err
    assert "127.0.0.3:8080 cannot be used" in error and error.count("\n") == 1


def test_a_look_at_a_running_simulated_cell_is_not_refused(runtime_dir, monkeypatch):
    started = []
    monkeypatch.setattr(supervisor, "supervise", lambda specs: started.extend(specs) or 0)
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        taken.bind(("127.0.0.2", 8080))
        taken.listen()
        assert main(["launch", "launch/view.launch.py", "hardware:=sim"]) == 0
    assert started


def test_a_cell_without_cameras_starts_no_renderer(runtime_dir):
    cell = dataclasses.replace(load_cell(hardware="sim"), cameras={})
    values = ROBOT.resolve({"hardware": "sim"})
    names = [spec.name for spec in processes.simulated_cell(cell, values)]
    assert "world" in names and "renderer" not in names


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["ate_teleop", "none.launch.py"], "known: ate_teleop dual_operator.launch.py"),
        (["ate_policy", "deply.launch.py"], "did you mean ate_policy deploy.launch.py?"),
        (["launch/none.launch.py"], "launch/none.launch.py does not exist; known: "),
        (["tests/conftest.launch.py"], "does not exist"),
        (["ate_policy"], "names no file"),
        (["ate_policy", "deploy.launch.py"], "needs checkpoint:="),
        ([*SERVED, "policy_deadline_ms:=0"], "policy_deadline_ms:=0 is not allowed; need 1 to"),
        ([*SERVED, "chunk_mode:=rtc_direct"], "chunk_mode:=rtc_direct is not allowed; need rtc"),
        ([*SERVED, "policy_deadline_ms:=4001"], "need 1 to 4000"),
        ([*SERVED, "device:=cpu"], "device:=cpu is of a network that runs here"),
        ([*SERVED, "precision:=bf16"], "give it to `ate serve`"),
        *(
            ([*SERVED[:2], f"policy_server:={wrong}"], "need ws://HOST:PORT")
            for wrong in NO_SERVER
        ),
        ([*PLAYED, "device:=gpu"], "device:=gpu is not allowed; need auto, cpu, cuda or cuda:1"),
        ([*PLAYED, "output:=bags"], "output:=bags says nothing without record:=true"),
        ([*PLAYED, "operator:=Ada"], "operator:=Ada says nothing without record:=true"),
        ([*PLAYED, "calibrations:=c"], "says nothing without operators:=true"),
        ([*PLAYED, "report:=r.jsonl"], "score with `ate score`, and leave it out"),
        ([*PLAYED, "episodes:=5"], "episodes:=5 says nothing without hardware:=sim"),
        (
            [*PLAYED, "hardware:=sim", "report:=r.jsonl"],
            "report:=r.jsonl says nothing without episodes:=20",
        ),
        ([*SERVED, "checkpoint:=x"], "give one of them"),
        (["ate_policy", "deploy.launch.py", "checkpoint:=x", "policy_keys:=y"], "give it"),
        (["ate_teleop", "dual_operator.launch.py", "hardware:=moon"], "need one of real, sim"),
        (["ate_teleop", "dual_operator.launch.py", "episodes:=x"], "episodes:=x is not allowed"),
        (["ate_teleop", "dual_operator.launch.py", "speed:=3"], "no argument 'speed'"),
        (["ate_teleop", "dual_operator.launch.py", "speed=3"], "name:=value"),
        (["ate_teleop", "dual_operator.launch.py", "output:=b\udce4gs"], "is no UTF-8 text"),
        (["ate_teleop", "dual_operator.launch.py", "cell:=none.yaml"], "cannot be read"),
        (
            ["ate_teleop", "dual_operator.launch.py", "hardware:=sim", "task:=fly"],
            "known are pick_place",
        ),
    ],
)
def test_wrong_launch_arguments_are_one_line_and_a_code(words, message, capsys):
    assert main(["launch", *words]) == 1
    error = capsys.readouterr().err
    assert message in error
    assert error.startswith("error: ") and error.count("\n") == 1


def test_a_launch_by_path_starts_the_drivers_alone(runtime_dir, capsys):
    file = Path(__file__).parents[2] / "launch" / "robot.launch.py"
    assert main(["launch", str(file), "hardware:=sim", "--print"]) == 0
    started = capsys.readouterr().out
    assert "/left/arm_driver" in started and "ate_sim.realtime.world" in started
    assert "operator" not in started and "recorder" not in started and "policy" not in started


def test_view_starts_rviz_where_it_is_installed(runtime_dir, tmp_path, monkeypatch):
    monkeypatch.setenv("AMENT_PREFIX_PATH", str(tmp_path))
    (described,) = LAUNCHES["view"].processes({})
    assert described.module == "ate_bringup.nodes.description_node"
    (tmp_path / "lib" / "rviz2").mkdir(parents=True)
    (tmp_path / "lib" / "rviz2" / "rviz2").touch()
    described, rviz = LAUNCHES["view"].processes({})
    assert described.module == "ate_bringup.nodes.description_node"
    assert rviz.command()[0] == f"{tmp_path}/lib/rviz2/rviz2"
    assert rviz.command()[1] == "-d" and Path(rviz.command()[2]).is_file()


def test_the_view_shows_the_cell_its_frames_and_its_cameras(runtime_dir):
    from ate_bringup.processes import package_folder
    from ate_core.contract import load_cell

    text = (package_folder("ate_bringup") / "config" / "view.rviz").read_text()
    view = yaml.safe_load(text)["Visualization Manager"]
    shown = [
        display.get("Topic", display.get("Description Topic")) for display in view["Displays"]
    ]
    topics = {topic["Value"] for topic in shown if topic}
    cell = load_cell()
    assert topics == {"/robot_description", *(map(cell.topics.camera_image, cell.cameras))}
    assert view["Global Options"]["Fixed Frame"] == "world"
    assert any(display["Class"].endswith("/TF") for display in view["Displays"])


def test_a_cell_is_given_by_path_or_by_packaged_name(runtime_dir, tmp_path, monkeypatch):
    from ate_bringup.processes import cell_parameters

    monkeypatch.chdir(tmp_path)
    cells = ("", "six_axis", "mine.yaml", "cells/mine")
    given = [cell_parameters({"cell": cell, "hardware": "real"})["cell"] for cell in cells]
    assert given == ["", "six_axis", f"{tmp_path}/mine.yaml", f"{tmp_path}/cells/mine"]


def test_unknown_verbs_are_refused(capsys):
    assert main(["fly"]) == 2
    assert "no `ate fly`; see `ate --help`" in capsys.readouterr().err
    assert main(["fine-tune"]) == 2
    assert "did you mean `ate finetune`?" in capsys.readouterr().err


def test_a_traceback_appears_only_with_debug(capsys):
    main(["launch", "ate_teleop", "none.launch.py"])
    assert "Traceback" not in capsys.readouterr().err
    main(["launch", "ate_teleop", "none.launch.py", "--debug"])
    assert "Traceback" in capsys.readouterr().err


@pytest.mark.parametrize("verb", [verb for verb in VERBS if verb != "launch"])
def test_every_verb_has_a_help_page(verb, capsys):
    with pytest.raises(SystemExit) as stopped:
        main([verb, "--help"])
    assert stopped.value.code == 0
    assert f"ate {verb}" in capsys.readouterr().out


def test_strings_reach_a_node_quoted():
    spec = ProcessSpec(name="n", module="a.nodes.b", parameters={"instruction": "put it: down"})
    assert spec.command()[-1] == 'instruction:="put it: down"'
    assert (spec.package, spec.executable) == ("a", "b")


def test_a_launch_with_two_equal_names_is_refused():
    import dataclasses

    spec = ProcessSpec(name="n", module="a.nodes.b")
    twice = dataclasses.replace(LAUNCHES["deploy"], make_processes=lambda values: [spec, spec])
    with pytest.raises(UsageError, match="alike"):
        twice.processes({"checkpoint": "x"})


@pytest.mark.parametrize("hardware", ["sim", "real"])
def test_a_replay_is_launched_with_nobody_at_the_hands_and_no_recorder(runtime_dir, hardware):
    given = {"hardware": hardware, "hands": "replay"}
    specs = DUAL_OPERATOR.processes(given)
    assert not {"people", "recorder"} & {spec.name for spec in specs}
    operators = [spec for spec in specs if spec.name == "operator"]
    assert [spec.parameters["hands"] for spec in operators] == ["replay", "replay"]
    for spec in operators:
        assert "standin" in spec.environment["PYTHONPATH"] and spec.environment["ATE_HID_DIR"]
    (monitor,) = [spec for spec in specs if spec.name == "monitor"]
    said = "`ate teleop-replay FILE --real`" if hardware == "real" else "`ate teleop-replay FILE`"
    assert said in monitor.parameters["following"]


def test_a_replay_and_scripted_episodes_are_refused_together(runtime_dir):
    with pytest.raises(UsageError, match="in a replay nobody demonstrates"):
        DUAL_OPERATOR.processes({"hardware": "sim", "hands": "replay", "episodes": "3"})


def test_hands_are_recorded_in_a_folder_for_each_session(runtime_dir, tmp_path):
    def folders(**given):
        specs = DUAL_OPERATOR.processes({"hardware": "sim", **given})
        return {spec.parameters["hands_record"] for spec in specs if spec.name == "operator"}

    assert folders() == {""}
    (folder,) = folders(hands_record=str(tmp_path))
    assert Path(folder).parent == tmp_path


def test_scripted_people_take_over_nobodys_calibration(runtime_dir, tmp_path):
    def folders(**given):
        specs = DUAL_OPERATOR.processes({"hardware": "sim", **given})
        return {spec.parameters.get("calibrations") for spec in specs if spec.name == "operator"}

    assert folders(episodes="0") == {None}  # the cell's own folder, for whom calibrates
    (folder,) = folders(episodes="2")
    assert not Path(folder).exists()
    assert Path(folder) != Path(runtime_dir) / "calibrations"
    assert folders(episodes="2", calibrations=str(tmp_path)) == {str(tmp_path)}


def test_scripted_people_make_mistakes_only_where_that_is_asked(runtime_dir):
    def words(**given):
        specs = DUAL_OPERATOR.processes({"hardware": "sim", "episodes": "2", **given})
        return next(spec.arguments for spec in specs if spec.name == "people")

    assert "--mistakes" not in words()
    given = words(mistakes="0.3")
    assert given[given.index("--mistakes") + 1] == "0.3"
    for wrong in ("often", "1.5", "-0.1", "nan"):
        with pytest.raises(UsageError, match="need a number from 0 to 1"):
            words(mistakes=wrong)
