"""The doctor: what would keep a cell from working, named before it moves."""

import ctypes
import errno
import json
import socket
import threading
from pathlib import Path

import numpy as np
import pytest
import yaml
from safetensors.numpy import save_file

from ate_bringup.cli import main
from ate_bringup.doctor import machine
from ate_bringup.doctor.cell_file import look_at_cell_file
from ate_bringup.doctor.finding import Check, Patient
from ate_bringup.doctor.libraries import LIBRARIES, look_at_libraries
from ate_bringup.doctor.visit import visit, worst
from ate_bringup.launches import LAUNCHES
from ate_bringup.preflight import checks_before_launch, refuse_to_launch, static_problems
from ate_core.contract import load_cell, packaged_cell, packaged_cells
from ate_core.errors import DeviceError
from ate_core.findings import failed, passed, warned

ROOT = Path(__file__).parents[2]


def doctor_json(capsys, *words):
    code = main(["doctor", "--json", *words])
    return code, json.loads(capsys.readouterr().out)


def findings(report, status):
    return [
        finding
        for check in report["checks"]
        for finding in check["findings"]
        if finding["status"] == status
    ]


@pytest.fixture
def wrong_cell(tmp_path):
    def write(**changes):
        values = yaml.safe_load(packaged_cell().read_text())
        for path, value in changes.items():
            *keys, last = path.split("__")
            place = values
            for key in keys:
                place = place[key]
            place[last] = value
        file = tmp_path / "my.yaml"
        file.write_text(yaml.safe_dump(values, sort_keys=False))
        return str(file)

    return write


@pytest.mark.parametrize("name", [None, *packaged_cells()])
def test_the_packaged_cells_pass(name, capsys):
    code, report = doctor_json(capsys, *(["--cell", name] if name else []))
    assert code == 0 and report["hardware"] is None
    assert findings(report, "fail") == []
    assert {finding["what"] for finding in findings(report, "pass")} >= {"numpy", "pin", "coal"}


def test_every_wrong_entry_of_a_cell_is_named(wrong_cell, capsys):
    file = wrong_cell(
        arms__left__ip="192.168.1.19",
        safety__command_timeout=60.0,
        arms__left__payload_kg=50.0,
        simulation__arms__right__ip="127.0.0.2",
    )
    code, report = doctor_json(capsys, "--cell", file)
    assert code == 1
    said = " ".join(finding["value"] for finding in findings(report, "fail"))
    for words in ("command_timeout is 60.0 s", "payload_kg is 50.0 kg", "192.168.1.19:8080"):
        assert words in said
    assert "127.0.0.2:8080" in said


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (None, "cannot be read (No such file or directory)"),
        ("image_width: 960\nimage_height: 540\n", "camera_matrix.data is None"),
        (
            "image_width: 640\nimage_height: 480\n",
            "is for 640x480 pictures, the cell wants 960x540",
        ),
        ("[[[", "cannot be read"),
    ],
)
def test_a_calibration_that_is_missing_or_wrong_is_named_and_no_launch_starts(
    text, words, wrong_cell, tmp_path, capsys
):
    if text is not None:
        (tmp_path / "high.yaml").write_text(text)
    file = wrong_cell(cameras__overhead__calibration="high.yaml")
    code, report = doctor_json(capsys, "--cell", file)
    (found,) = findings(report, "fail")
    assert code == 1 and found["what"] == "cameras.overhead.calibration"
    assert f"calibration {tmp_path}/high.yaml" in found["value"] and words in found["value"]
    values = LAUNCHES["robot"].resolve({"cell": file})
    with pytest.raises(DeviceError, match=r"cameras\.overhead\.calibration"):
        refuse_to_launch(LAUNCHES["robot"], values)


def test_a_device_that_is_named_by_a_number_of_the_kernel_is_warned_of(wrong_cell, capsys):
    file = wrong_cell(
        grippers__left__port="/dev/ttyUSB0",
        grippers__right__port="/dev/ttyACM1",
        cameras__overhead__serial="/dev/video4",
    )
    code, report = doctor_json(capsys, "--cell", file)
    found = {one["what"]: one for one in findings(report, "warn")}
    assert code == 0, "it is not refused"
    for place, link in (
        ("grippers.left.port", "/dev/serial/by-id/"),
        ("grippers.right.port", "/dev/serial/by-path/"),
        ("cameras.overhead.serial", "/dev/v4l/by-id/"),
    ):
        assert link in found[place]["remedy"]
    assert "grippers.left.port" not in str(doctor_json(capsys)[1])


def test_the_report_for_people_ends_with_the_counts(empty_domain, capsys):
    assert main(["doctor"]) == 0
    out = capsys.readouterr().out
    assert out.splitlines()[-1].endswith(", 0 fail")
    assert "joycon_serial: 00:00:00:00:00:01, which no Joy-Con has: write the address" in out


def test_wrong_words_are_a_usage_error(capsys):
    assert main(["doctor", "--live", "--hardware", "sim"]) == 1
    with pytest.raises(SystemExit) as caught:
        main(["doctor", "--hardware", "moon"])
    assert caught.value.code == 2


def test_the_versions_are_those_that_are_tested():
    lines = (ROOT / "constraints.txt").read_text().lower().splitlines()
    pinned = dict(line.split("==") for line in lines if "==" in line)
    assert {name: library.tested for name, library in LIBRARIES.items()} == {
        name: pinned[name] for name in LIBRARIES
    }


def test_the_l515_is_named_with_its_remedy(capsys):
    _, report = doctor_json(capsys)
    (realsense,) = [f for f in findings(report, "pass") if f["what"] == "pyrealsense2"]
    assert "L515" in realsense["value"] and "backend v4l2" in realsense["value"]


def test_a_missing_and_an_untried_library_are_told(monkeypatch, capsys):
    versions = {"pin": None, "numpy": "1.26.4"}
    monkeypatch.setattr(
        "ate_bringup.doctor.libraries.installed",
        lambda name: versions.get(name, LIBRARIES[name].tested),
    )
    code, report = doctor_json(capsys)
    assert code == 1
    assert [(f["what"], f["bound"]) for f in findings(report, "fail")] == [("pin", "4.1.0")]
    assert "pip install numpy==2.4.6" in [f["remedy"] for f in findings(report, "warn")][-1]


@pytest.mark.parametrize(("found", "status"), [(None, "warn"), (object(), "pass")])
def test_a_video_device_needs_opencv(monkeypatch, found, status):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: found)
    told = {one.what: one for one in look_at_libraries(Patient())}
    assert told["OpenCV"].status == status and "overhead" in told["OpenCV"].value
    assert status == "pass" or told["OpenCV"].remedy == "pip install opencv-python-headless"
    blind = look_at_libraries(Patient(runs_cameras=False))
    assert "OpenCV" not in {one.what for one in blind}
    simulated = look_at_libraries(Patient(hardware="sim"))
    assert "OpenCV" not in {one.what for one in simulated}


def cell_findings(tmp_path, edit, **patient):
    """What the doctor says of a cell file that was changed."""
    values = yaml.safe_load(packaged_cell().read_text())
    edit(values)
    file = tmp_path / "cell.yaml"
    file.write_text(yaml.safe_dump(values))
    return list(look_at_cell_file(Patient(cell_name=str(file), **patient)))


@pytest.mark.parametrize(("starts", "status"), [(True, "fail"), (False, "warn")])
def test_a_cell_with_one_arm_is_told_that_no_launch_starts_it(tmp_path, starts, status):
    def edit(values):
        del values["simulation"], values["cameras"]["left_wrist"]
        for section in ("arms", "grippers", "operators"):
            del values[section]["left"]
        right = [one for one in values["vectors"]["state"] if one["name"].startswith("right")]
        values["vectors"] = {"state": right, "action": right}

    found = cell_findings(tmp_path, edit, starts_devices=starts)
    (told,) = [one for one in found if one.what == "arms"]
    assert told.status == status and "right alone: no launch starts such a cell" in told.value


def test_one_camera_without_a_serial_beside_a_named_one_is_left_to_chance(tmp_path):
    def edit(values):
        values["cameras"]["right_wrist"]["serial"] = "218622271234"

    found = [one.what for one in cell_findings(tmp_path, edit) if one.status == "warn"]
    assert "cameras left_wrist" in found


def test_a_wall_clock_whose_state_is_refused_is_not_called_synchronised(monkeypatch):
    class Refusing:
        @staticmethod
        def adjtimex(_):
            ctypes.set_errno(errno.EPERM)
            return -1

    monkeypatch.setattr(machine.ctypes, "CDLL", lambda *_, **__: Refusing)
    told = machine._wall_clock()
    assert told.status == "warn" and "its state cannot be read" in told.value
    assert "not permitted" in told.value


@pytest.fixture
def checkpoint(tmp_path):
    folder = tmp_path / "policy"
    folder.mkdir()
    cell = load_cell(hardware="sim")
    (folder / "contract.yaml").write_text(cell.canonical_text())
    config = {
        "format": 1,
        "kind": "flow",
        "layout_sha256": cell.layout.sha256,
        "model": {"cameras": ["cam_high"], "horizon": 20},
        "training": {},
    }
    (folder / "config.json").write_text(json.dumps(config))
    rest = [*cell.arms["left"].home, 0.5, *cell.arms["right"].home, 0.5]
    norms = {name: {"q01": rest, "q99": rest} for name in ("state", "actions")}
    (folder / "statistics.json").write_text(json.dumps({"norm_stats": norms}))
    save_file({"weight": np.zeros((4, 4), np.float32)}, folder / "model.safetensors")
    return folder


def cut_weights(folder):
    file = folder / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-1])


def no_numbers(folder):
    save_file({"weight": np.full((4, 4), np.nan, np.float32)}, folder / "model.safetensors")


def empty_weights(folder):
    (folder / "model.safetensors").write_bytes(b"")


def cut_config(folder):
    file = folder / "config.json"
    file.write_text(file.read_text()[:-9])


def edited(**entries):
    def edit(folder):
        file = folder / "config.json"
        file.write_text(json.dumps(json.loads(file.read_text()) | entries))

    return edit


@pytest.mark.parametrize(
    ("damage", "words", "refusal"),
    [
        (cut_weights, {}, "its header says"),
        (empty_weights, {}, "model.safetensors cannot be read"),
        (no_numbers, {}, "model.safetensors is not finite"),
        (cut_config, {}, "config.json cannot be read"),
        (edited(format=2), {}, "has format 2, this version reads 1: update"),
        (edited(kind="flwo"), {}, "did you mean flow?"),
        (edited(kind="action_vae"), {}, "made by `ate train-vae`: only a policy drives"),
        (edited(kind="action_tokens"), {}, "made by `ate train-tokens`: only a policy drives"),
        (edited(kind="aligned_video"), {}, "made by `ate align-video`: only a policy drives"),
        (edited(layout_sha256="0"), {}, "the folder was edited"),
        (edited(), {"execute": "21"}, "21 actions of each chunk, the policy's have 20"),
        (edited(), {"delay_ms": "1000"}, "delay_ms: 1000 ms"),
        (edited(), {"delay_ms": "900", "execute": "20"}, ""),
        (edited(), {"chunk_mode": "rtc"}, ""),
        (edited(kind="clap_ntp"), {"chunk_mode": "rtc_jacobian"}, "cannot go on with a chunk"),
        (edited(kind="clap_ntp"), {"chunk_mode": "temporal_ensemble"}, ""),
        (edited(), {"device": "cuda:63"}, "device 'cuda:63' is not there"),
        (edited(), {"device": "gpu"}, "device 'gpu' is unknown: use auto, cpu, cuda"),
        (edited(), {"device": "cpu"}, ""),
        (edited(model={"tokens": "tokens", "horizon": 20}), {}, "lacks tokens/config.json, "),
        (edited(model={"tokenizer": "tokenizer", "horizon": 20}), {}, "lacks tokenizer: copy"),
    ],
)
def test_a_launch_refuses_a_damaged_checkpoint_and_what_its_chunks_cannot_do(
    damage, words, refusal, checkpoint, runtime_dir
):
    damage(checkpoint)
    given = {"hardware": "sim", "checkpoint": str(checkpoint), **words}
    values = LAUNCHES["deploy"].resolve(given)
    try:
        refuse_to_launch(LAUNCHES["deploy"], values)
        told = ""
    except DeviceError as error:
        told = str(error)
    assert refusal in told and bool(refusal) == bool(told)


def test_a_checkpoint_is_compared_with_the_cell(checkpoint, capsys):
    assert doctor_json(capsys, "--checkpoint", str(checkpoint))[0] == 0
    code, report = doctor_json(capsys, "--cell", "six_axis", "--checkpoint", str(checkpoint))
    assert code == 1
    said = " ".join(finding["value"] for finding in findings(report, "fail"))
    assert "left_arm [rad] x 6 against left_arm [rad] x 7" in said
    (checkpoint / "model.safetensors").unlink()
    code, report = doctor_json(capsys, "--checkpoint", str(checkpoint))
    assert findings(report, "fail")[0]["value"] == "lacks model.safetensors"


def check(name, look, **options):
    return Check(name=name, group="test", look=look, **options)


def test_a_check_that_crashes_or_hangs_fails_alone():
    release = threading.Event()

    def crash(patient):
        yield passed("before")
        raise RuntimeError("broken")

    def hang(patient):
        release.wait()
        yield passed("never")

    def refuse(patient):
        raise DeviceError("the arm is off")

    checks = [
        check("crash", crash),
        check("hang", hang, limit=0.05),
        check("refuse", refuse),
        check("well", lambda patient: [warned("disk", "slow", "buy another")]),
    ]
    results = visit(checks, Patient())
    release.set()
    said = [finding.text for result in results for finding in result.findings]
    assert said[:2] == [
        "before",
        "crash: the check itself ended with RuntimeError: broken: report it; the other checks "
        "are not touched by it",
    ]
    assert said[2].startswith("hang: no end after") and "need 0.05 s" in said[2]
    assert said[3:] == ["refuse: the arm is off", "disk: slow: buy another"]
    assert worst(results) == "fail"
    assert worst(results[3:]) == "warn"


def test_what_needs_a_right_cell_says_nothing_of_a_wrong_one(wrong_cell):
    patient = Patient(cell_name=wrong_cell(tick_rate=1.0))
    ask = check("ask", lambda patient: [failed("cell", patient.cell.name, "")])
    assert visit([ask], patient) == []


def test_a_launch_refuses_what_the_doctor_fails(wrong_cell, checkpoint, capsys):
    words = ["launch", "ate_policy", "deploy.launch.py", f"checkpoint:={checkpoint}"]
    assert main([*words, "cell:=six_axis"]) == 1
    error = capsys.readouterr().err
    assert "left_arm [rad] x 6 against left_arm [rad] x 7" in error
    assert error.count("\n") == 1


@pytest.mark.parametrize("given", [{"seed": "0"}, {"seed": "7", "episodes": "1"}])
def test_rollouts_from_demonstrated_starts_are_refused(checkpoint, given, runtime_dir):
    config = json.loads((checkpoint / "config.json").read_text())
    config["training"] = {"seeds": [*range(20)]}
    (checkpoint / "config.json").write_text(json.dumps(config))

    def told(**given):
        values = {"checkpoint": str(checkpoint), "hardware": "sim", "episodes": "25", **given}
        found = checks_before_launch(LAUNCHES["deploy"], LAUNCHES["deploy"].resolve(values))
        return [finding.text for finding in found if finding.status == "fail"]

    (text,) = told(**given)
    assert "starts were demonstrated in training (seeds " in text and "seed:=1000" in text
    assert told() == []


def test_a_launch_refuses_a_push_port_that_another_driver_has(capsys):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("", 8090))
        assert main(["launch", "launch/robot.launch.py"]) == 1
    assert "UDP port 8090 of the right arm" in capsys.readouterr().err


def test_a_launch_of_a_right_cell_is_not_kept_from_starting(runtime_dir):
    for name, given in (("robot", {}), ("dual_operator", {"hardware": "sim"}), ("view", {})):
        launch = LAUNCHES[name]
        found = checks_before_launch(launch, launch.resolve(given))
        assert [finding.text for finding in found if finding.status == "fail"] == []


@pytest.mark.parametrize(
    ("words", "error"),
    [
        (["hardware:=sim", "hardware:=real"], "hardware is given twice, as 'sim' and 'real'"),
        (["hardware:=sim", "output:=/dev/null/bags"], "/dev/null is none: choose another folder"),
    ],
)
def test_a_launch_with_words_that_cannot_be_meant_starts_nothing(
    words, error, runtime_dir, capsys
):
    assert main(["launch", "launch/record.launch.py", *words]) == 1
    told = capsys.readouterr().err
    assert error in told and told.count("\n") == 1


@pytest.mark.parametrize(
    ("argument", "damage", "refusal"),
    [
        ("cameras:=false", {}, "cameras:=false, the policy looks through cam_high"),
        ("cameras:=true", {"q99": [90.0] * 16}, "statistics of state: left_arm_1 spans"),
        ("cameras:=true", {"q99": "far"}, "the checkpoint's statistics or settings are damaged"),
    ],
)
def test_a_launch_refuses_what_a_policy_would_see_or_say_wrong(
    argument, damage, refusal, checkpoint, runtime_dir, capsys
):
    file = checkpoint / "statistics.json"
    statistics = json.loads(file.read_text())
    statistics["norm_stats"]["state"] |= damage
    file.write_text(json.dumps(statistics))
    words = ["launch/deploy.launch.py", "hardware:=sim", argument, f"checkpoint:={checkpoint}"]
    assert main(["launch", *words]) == 1
    error = capsys.readouterr().err
    assert refusal in error and error.count("\n") == 1


def test_a_launch_without_its_checkpoint_starts_nothing(runtime_dir, capsys):
    assert main(["launch", "launch/deploy.launch.py", "hardware:=sim", "checkpoint:="]) == 1
    assert "needs checkpoint:=" in capsys.readouterr().err


def test_a_domain_in_which_no_node_can_live_keeps_a_launch_from_starting(
    runtime_dir, monkeypatch, capsys
):
    monkeypatch.setenv("ROS_DOMAIN_ID", "999")
    assert main(["launch", "launch/robot.launch.py", "hardware:=sim"]) == 1
    assert "ROS_DOMAIN_ID: 999 (need 0 to 101)" in capsys.readouterr().err


def test_a_full_disk_keeps_only_launches_that_record_from_starting(runtime_dir, monkeypatch):
    monkeypatch.setattr("ate_bringup.doctor.machine.REFUSED_FREE", 1e18)
    refused = {}
    for name, given in (("robot", {}), ("dual_operator", {"hardware": "sim"}), ("view", {})):
        found = checks_before_launch(LAUNCHES[name], LAUNCHES[name].resolve(given))
        refused[name] = any(one.what.startswith("disk of") for one in found)
    assert refused == {"robot": False, "dual_operator": True, "view": False}


POST = {"shape": "cylinder", "size": [0.02, 0.5], "pose": [0.2, 0.6, 0.25, 0, 0, 0, 1]}


@pytest.mark.parametrize(
    ("given", "named"),
    [({"obstacles": {"post": POST}}, "post"), ({"obstacles": {}}, "none"), ({}, "")],
)
def test_a_cell_that_lists_obstacles_and_no_table_is_warned_of(given, named, wrong_cell):
    found = list(look_at_cell_file(Patient(cell_name=wrong_cell(**given))))
    assert not any(finding.status == "fail" for finding in found)
    texts = [finding.text for finding in found if finding.what == "obstacles"]
    assert len(texts) == bool(named)
    for text in texts:
        assert f"{named}, and nothing that is worked on" in text and "is_worked_on: true" in text


def test_a_cell_without_operators_is_warned_of_and_no_launch_drives_it(wrong_cell):
    file = wrong_cell(operators={}, simulation__operators={})
    found = list(look_at_cell_file(Patient(cell_name=file)))
    assert {one.status for one in found if one.what == "operators"} == {"warn"}
    robot = LAUNCHES["robot"]
    refused = checks_before_launch(robot, robot.resolve({"cell": file}))
    assert [one.what for one in refused if one.status == "fail" and one.what == "operators"]


def test_static_problems_are_lines_for_a_manager(wrong_cell):
    assert static_problems() == []
    (problem,) = static_problems(wrong_cell(operators__left__yaw=90.0))
    assert "operators.left.yaw is 90.0 rad" in problem


def test_what_a_launch_writes_is_tried_before_it_starts(tmp_path, monkeypatch) -> None:
    (tmp_path / "file").touch()
    below = tmp_path / "file" / "below"
    deploy = LAUNCHES["deploy"]
    given = {"hardware": "sim", "checkpoint": str(tmp_path), "episodes": "2"}

    def told(**more: str) -> str:
        found = checks_before_launch(deploy, deploy.resolve({**given, **more}))
        return "; ".join(finding.text for finding in found if finding.status == "fail")

    monkeypatch.setenv("ROS_LOG_DIR", str(tmp_path / "log" / "new"))
    well = told(report=str(tmp_path / "new" / "r.jsonl"), summary=str(tmp_path / "file"))
    assert not any(word in well for word in ("report:=", "summary:=", "log folder", "runtime"))
    assert f"report:={tmp_path}: is a folder: name a file" in told(report=str(tmp_path))
    assert f"{tmp_path / 'file'} is no folder" in told(summary=str(below / "s.json"))
    monkeypatch.setenv("ROS_LOG_DIR", str(below))
    assert "log folder of ROS" in told() and "set ROS_LOG_DIR" in told()
    monkeypatch.setenv("ATE_RUNTIME_DIR", str(below))
    assert "runtime folder" in told()
    monkeypatch.setattr("ate_bringup.doctor.places.MIN_ROOM", 1e18)
    assert "MB free on the disk" in told(report=str(tmp_path / "r.jsonl"))
