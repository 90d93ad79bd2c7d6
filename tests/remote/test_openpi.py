"""openpi's client drives our server, and a server that speaks as openpi's does drives our cell."""

import contextlib
import dataclasses
import json
import os
import re
import subprocess
import sys
import threading
import traceback
import venv
from pathlib import Path

import msgpack
import numpy as np
import pytest
import torch
import yaml

from ate_bringup.launches import LAUNCHES
from ate_bringup.preflight import checks_before_launch
from ate_core.contract import load_cell
from ate_core.errors import AteError, LayoutError, LinkError, UsageError
from ate_core.observation import Observation
from ate_policy.models.flow_policy import FlowPolicy, FlowPolicyConfig
from ate_policy.policy import Policy
from ate_policy.remote.client import LinkConfig, RemotePolicy, connect
from ate_policy.remote.foreign import ForeignKeys
from ate_policy.transforms import ChunkTransform, Statistics, VectorStatistics

CELL = load_cell(hardware="sim")
HOME = (*CELL.arms["left"].home, 0.5, *CELL.arms["right"].home, 0.5)
SCRIPT = """
import json, sys, numpy as np
from openpi_client.websocket_client_policy import WebsocketClientPolicy
asked = json.loads(sys.argv[2])
client = WebsocketClientPolicy(sys.argv[1], api_key=sys.argv[3] or None)
found = {"metadata": sorted(client.get_server_metadata()), "chunks": [], "errors": []}
for one in asked:
    for key, value in one.items():
        if isinstance(value, list):
            one[key] = np.array(value, np.float32)
        if isinstance(value, dict):
            one[key] = {k: np.full(v, 90, np.uint8) for k, v in value.items()}
    try:
        answer = client.infer(one)
        found["chunks"].append(answer["actions"].tolist())
        found["timing"] = sorted(answer["server_timing"])
    except RuntimeError as error:
        found["errors"].append(str(error))
print(json.dumps(found))
"""
KEYS = {
    "observation": {
        "state": ["right_gripper", "right_arm", "left_arm", "left_gripper"],
        "images": {"cam_high": {"camera": "cam_high"}},
        "prompt": "instruction",
    },
    "actions": ["right_arm", "right_gripper", "unused", "left_arm", "left_gripper"],
    "horizon": 5,
    "rate_hz": 20.0,
    "image_height": 8,
    "image_width": 8,
    "channels_first": True,
    "reversed": ["left_gripper"],
}


@pytest.fixture(scope="session")
def openpi_client(tmp_path_factory):
    """Command of a Python with openpi's client, which asks for a numpy of before 2.

    `ATE_OPENPI_CLIENT` names a folder that holds it; else an environment is made for it.
    """
    if given := os.environ.get("ATE_OPENPI_CLIENT", ""):
        return ["env", f"PYTHONPATH={given}", sys.executable]
    folder = tmp_path_factory.mktemp("openpi") / "env"
    venv.create(folder)
    python = folder / "bin" / "python"
    install = [sys.executable, "-m", "pip", "--python", python, "install", "--quiet"]
    install += [
        "--only-binary",
        ":all:",
        "--no-compile",
        "openpi-client==0.1.2",
        "typing_extensions",
    ]
    try:
        subprocess.run(install, capture_output=True, text=True, timeout=240, check=True)
    except subprocess.CalledProcessError as error:
        why = (error.stderr.strip().splitlines() or ["pip failed"])[-1]
        pytest.skip(f"openpi-client cannot be installed here: {why}")
    except subprocess.TimeoutExpired:
        pytest.skip("openpi-client was not installed within 240 s")
    return [str(python)]


def ask_with_openpi(client, address, asked, token=""):
    """What openpi's own client got, in a process of its own."""
    command = [*client, "-c", SCRIPT, address, json.dumps(asked), token]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def encoded(value):
    if isinstance(value, np.ndarray):
        shape = value.shape
        return {
            b"__ndarray__": True,
            b"data": value.tobytes(),
            b"dtype": value.dtype.str,
            b"shape": shape,
        }
    return {b"__npgeneric__": True, b"data": value.item(), b"dtype": value.dtype.str}


def decoded(table):
    if b"__ndarray__" in table:
        return np.frombuffer(table[b"data"], table[b"dtype"]).reshape(table[b"shape"])
    return table


@contextlib.contextmanager
def openpi_server(infer, hello=None):
    """Speaks as openpi's server: who it is, then a chunk per observation, in turn.

    It infers within its loop, echoes nothing, and answers an error with its traceback in words.
    """
    serve = pytest.importorskip("websockets.sync.server").serve
    closed = pytest.importorskip("websockets.exceptions").ConnectionClosed

    def converse(link):
        link.send(msgpack.packb(hello or {}, default=encoded))
        with contextlib.suppress(closed):
            while True:
                seen = msgpack.unpackb(link.recv(), object_hook=decoded)
                try:
                    answer = {"actions": infer(seen), "state": seen["state"]}
                except Exception:
                    link.send(traceback.format_exc())
                    link.close(1011)
                    return
                answer["policy_timing"] = {"infer_ms": np.float64(1.5)}
                answer["server_timing"] = {"infer_ms": 2.0}
                link.send(msgpack.packb(answer, default=encoded))

    with serve(converse, "127.0.0.1", 0, compression=None, max_size=None) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"ws://127.0.0.1:{server.socket.getsockname()[1]}"
        finally:
            server.shutdown()
            thread.join(10.0)


def seen_by_cell(state=HOME):
    images = {"cam_high": np.full((4, 8, 3), 90, np.uint8)}
    return Observation(
        state=np.array(state, np.float32), images=images, instruction="lift", stamp_ns=0
    )


@contextlib.contextmanager
def foreign(address, **changed):
    keys = ForeignKeys(**{**KEYS, **changed})
    remote = RemotePolicy(LinkConfig(address=address, answer=10.0), CELL, keys)
    try:
        yield remote
    finally:
        remote.close()


@pytest.fixture(scope="module")
def policy():
    one = VectorStatistics(mean=HOME, std=(0.01,) * 16, q01=HOME, q99=HOME)
    torch.manual_seed(0)
    model = FlowPolicy(FlowPolicyConfig(objects=0, cameras=("cam_high",)))
    transform = ChunkTransform(Statistics(state=one, action=one))
    return Policy("flow", model, transform, CELL.canonical_text(), {"instructions": ["lift"]})


def test_openpis_own_client_drives_our_server(policy, serving, openpi_client):
    state = [float(value) for value in HOME]
    good = {"state": state, "images": {"cam_high": [3, 72, 128]}, "prompt": "lift", "seed": 3}
    asked = [good, {**good, "state": state[:7]}, good]
    with serving(policy, token="a" * 16) as address:
        found = ask_with_openpi(openpi_client, address, asked, "a" * 16)
    seen = Observation(
        state=np.array(HOME, np.float32),
        images={"cam_high": np.full((72, 128, 3), 90, np.uint8)},
        stamp_ns=0,
    )
    assert {"horizon", "action_names", "contract"} <= set(found["metadata"])
    assert len(found["errors"]) == 1 and "state has shape (7,)" in found["errors"][0]
    for chunk in found["chunks"]:
        np.testing.assert_allclose(chunk, policy.infer(seen, 3), atol=1e-5)
    assert found["timing"] == ["infer_ms", "queue_ms"]


def test_openpis_own_client_speaks_with_the_server_of_these_tests(openpi_client):
    with openpi_server(lambda _: np.ones((5, 17)), {"reset_pose": np.zeros(3)}) as address:
        found = ask_with_openpi(openpi_client, address, [{"state": [1.0, 2.0]}])
    assert found["metadata"] == ["reset_pose"] and np.array(found["chunks"]).shape == (1, 5, 17)


def test_a_server_of_openpi_drives_the_cell_by_a_file_of_keys():
    requests = []

    def infer(seen):
        requests.append(seen)
        row = np.concatenate([np.arange(7) + 0.5, [0.25], [99.0], np.arange(7) - 0.5, [0.25]])
        return np.tile(row, (5, 1))

    state = np.concatenate([np.arange(7), [0.2], -np.arange(7), [0.9]])
    with openpi_server(infer) as address, foreign(address) as remote:
        chunk = remote.infer(seen_by_cell(state), 3)
        assert remote.horizon == 5 and remote.kind == "openpi" and not remote.continues
        assert remote.warm_up("lift", repeats=1) > 0.0
        assert remote.latency.figures()["inference_ms"] == 2.0
    sent = requests[0]
    assert set(sent) == {"state", "images", "prompt"} and sent["prompt"] == "lift"
    np.testing.assert_allclose(sent["state"], [0.9, *-np.arange(7), *np.arange(7), 0.8], atol=1e-6)
    picture = sent["images"]["cam_high"]
    assert picture.shape == (3, 8, 8) and picture.max() == 90 and picture.min() == 0
    assert chunk.shape == (5, 16) and chunk.dtype == np.float32
    np.testing.assert_allclose(chunk[0, :7], np.arange(7) - 0.5)
    np.testing.assert_allclose(chunk[0, 8:15], np.arange(7) + 0.5)
    np.testing.assert_allclose(chunk[0, [7, 15]], [0.75, 0.25])


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"actions": ["left_arm", "left_gripper"]}, "no column gives ['right_arm_1'"),
        ({"actions": [*KEYS["actions"], "left_arm_3"]}, "['left_arm_3'] by several columns"),
        ({"actions": ["third_arm"]}, "name ['third_arm'], the action has"),
        ({"observation": {"state": ["left_hand"]}}, "name ['left_hand'], the state has"),
        ({"observation": {"state": 5}}, "state is 5, must be"),
        ({"observation": {"image": {"camera": "front"}}}, "cameras ['front'], the cell has"),
        ({"observation": {"left": ["unused"]}}, "name ['unused']"),
        ({"rate_hz": 50.0}, "50.0 rows per second, the cell runs at 20 Hz"),
        ({"reversed": ["left_arm"]}, "only ratios"),
        ({"horizon": 0}, "horizon is 0"),
        ({"horizon": "5"}, "policy keys"),
        ({"observation": []}, "policy keys"),
        ({"actions": None}, "policy keys"),
        ({"image_fit": "crop"}, "image_fit is 'crop'"),
    ],
)
def test_a_file_of_keys_that_does_not_fit_the_cell_is_refused_before_anything_moves(
    changed, words
):
    with (
        openpi_server(lambda _: np.zeros((5, 17))) as address,
        pytest.raises(AteError, match=re.escape(words)),
        foreign(address, **changed),
    ):
        pass


def test_a_launch_looks_at_the_file_of_keys_before_it_starts_anything(tmp_path, runtime_dir):
    file = tmp_path / "keys.yaml"

    def told(address, changed, **given):
        file.write_text(yaml.safe_dump({**KEYS, **changed}))
        values = {"policy_server": address, "policy_keys": str(file), "hardware": "sim", **given}
        found = checks_before_launch(LAUNCHES["deploy"], LAUNCHES["deploy"].resolve(values))
        return "; ".join(finding.text for finding in found if finding.status == "fail")

    with openpi_server(lambda _: np.zeros((5, 17))) as address:
        assert told(address, {}) == ""
        assert "50.0 rows per second" in told(address, {"rate_hz": 50.0})
        assert "scale" in told(address, {"scale": 2})
        assert "6 actions of each chunk, the policy's have 5" in told(address, {}, execute="6")
        assert "cannot go on with a chunk" in told(address, {}, chunk_mode="rtc")


@pytest.mark.parametrize(
    "chunk",
    [
        np.zeros((5, 14)),
        np.zeros((50, 17)),
        np.zeros((5, 17), np.int64),
        np.zeros(17),
        np.full((5, 17), "x"),
    ],
)
def test_chunks_of_another_shape_than_the_file_says_are_refused_at_the_first_look(chunk):
    with (
        openpi_server(lambda _: chunk) as address,
        foreign(address) as remote,
        pytest.raises((LayoutError, LinkError), match=r"must be float \(5, 17\)|is not read"),
    ):
        remote.warm_up("lift")


def test_a_server_that_tells_itself_what_it_reads_needs_no_keys():
    with (
        openpi_server(lambda _: np.zeros((5, 17)), {"format": 1}) as address,
        pytest.raises(LayoutError, match="leave out policy_keys:="),
        foreign(address),
    ):
        pass


def test_a_traceback_of_a_server_is_told_in_one_line_and_the_next_chunk_comes():
    left = [RuntimeError("no memory")]

    def infer(_):
        if left:
            raise left.pop()
        return np.zeros((5, 17))

    with openpi_server(infer) as address, foreign(address) as remote:
        with pytest.raises(UsageError, match="no memory") as caught:
            remote.infer(seen_by_cell())
        assert "\n" not in str(caught.value)
        with pytest.raises(LinkError):  # it hung up, too
            remote.infer(seen_by_cell())
        assert remote.infer(seen_by_cell()).shape == (5, 16)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a: [", "cannot be read"),
        ("[1, 2]", "entries are"),
        ("", "entries are"),
        ("horizon: 5", "missing"),
        (yaml.safe_dump({**KEYS, "scale": 2}), "scale"),
        ("\x00", "cannot be read"),
    ],
)
def test_a_file_that_is_no_file_of_keys_is_refused_by_name(tmp_path, text, words):
    file = tmp_path / "keys.yaml"
    file.write_text(text)
    with pytest.raises(UsageError, match=words):
        connect("ws://127.0.0.1:1", CELL, keys_file=str(file), answer=1.0)
    with pytest.raises(UsageError, match="cannot be read"):
        connect("ws://127.0.0.1:1", CELL, keys_file=str(tmp_path / "none"), answer=1.0)


def test_the_file_of_keys_in_the_pages_fits_the_packaged_cell(tmp_path):
    page = (Path(__file__).parents[2] / "docs" / "deployment.md").read_text()
    text = re.search(r"```yaml\n(observation:.*?)```", page, re.DOTALL).group(1)
    file = tmp_path / "keys.yaml"
    file.write_text(text)
    changes = dataclasses.asdict(ForeignKeys.read(file))
    with (
        openpi_server(lambda _: np.zeros((50, 16))) as address,
        foreign(address, **changes) as remote,
    ):
        assert remote.warm_up("lift", repeats=1) > 0.0
