"""What travels between a policy's server and its client, and what of it is refused."""

import dataclasses
from pathlib import Path

import msgpack
import numpy as np
import pytest
import simplejpeg
import torch

import ate_policy.remote
from ate_core.errors import LayoutError
from ate_core.observation import Observation
from ate_policy.continuation import Continuation
from ate_policy.models.flow_policy import FlowPolicy, FlowPolicyConfig
from ate_policy.models.interface import PolicyConfig
from ate_policy.models.names import POLICIES
from ate_policy.models.registry import policy_entry
from ate_policy.policy import Policy
from ate_policy.remote.latency import latency_sentence
from ate_policy.remote.messages import Request, ServedPolicy, read_chunk
from ate_policy.remote.wire import pack, unpack
from ate_policy.transforms import ChunkTransform

from .conftest import CELL, SEEN, Asked, linked, raw, served


def test_a_remote_policy_gives_the_same_chunk_as_a_local_one(policy):
    with served(policy) as address, linked(address) as remote:
        np.testing.assert_allclose(remote.infer(SEEN, 3), policy.infer(SEEN, 3), atol=1e-6)
        old = Continuation(actions=policy.infer(SEEN, 3), delay=2, through_network=True)
        wanted = policy.infer(SEEN, 4, old)
        np.testing.assert_allclose(remote.infer(SEEN, 4, old), wanted, atol=1e-5)
        assert remote.horizon == 20 and remote.instruction_for("") == ""
        figures = remote.latency.figures()
    parts = {"network_ms", "queue_ms", "inference_ms"}
    assert parts <= set(figures) and figures["inference_p99_ms"] > 0.0
    assert "network" in latency_sentence(figures)


def test_a_policy_trained_with_delays_is_served_and_goes_on_with_the_rows_it_is_given(policy):
    torch.manual_seed(0)
    model = FlowPolicy(FlowPolicyConfig(objects=0, max_delay=8))
    for parameter in model.parameters():  # layers that start at zero would hide the rows
        parameter.data += 0.05 * torch.randn(parameter.shape)
    transform = ChunkTransform(policy.statistics)
    late = Policy("flow", model, transform, CELL.canonical_text(), {"instructions": ["lift"]})
    with served(late) as address, linked(address) as remote:
        assert remote.config.max_delay == 8
        np.testing.assert_allclose(remote.infer(SEEN, 3), late.infer(SEEN, 3), atol=1e-6)
        played = late.infer(SEEN, 3)
        for delay in (0, 3, 8, 9):  # with 9 it is guided
            old = Continuation(actions=played, delay=delay)
            chunk = remote.infer(SEEN, 4, old)
            np.testing.assert_allclose(chunk, late.infer(SEEN, 4, old), atol=1e-5)
            if 0 < delay <= 8:
                np.testing.assert_allclose(chunk[:delay], played[:delay], atol=1e-5)


@pytest.mark.parametrize("kind", POLICIES.names())
def test_what_every_network_has_of_its_configuration_travels_whole(kind, policy):
    entry = policy_entry(kind)
    delays = {"max_delay": 5} if entry.config.takes_prefix else {}
    vectors = {f"{name}_names": tuple(map(str, range(16))) for name in ("state", "action")}
    own = {field.name for field in dataclasses.fields(entry.config)}
    sizes = {key: one for key, one in vectors.items() if key in own}
    other = Asked(policy)
    other.config = entry.config(**{**entry.presets["tiny"].sizes, **sizes, **delays})
    hello = unpack(pack(ServedPolicy.of(other).metadata()))
    read = ServedPolicy.read(hello, "ws://x").config
    for field in dataclasses.fields(PolicyConfig):
        assert getattr(read, field.name) == getattr(other.config, field.name)


def test_a_request_may_hold_jpeg_and_pictures_with_channels_first(policy):
    picture = np.full((72, 128, 3), 90, np.uint8)
    kinds = (picture, picture.transpose(2, 0, 1), simplejpeg.encode_jpeg(picture, 100, "RGB"))
    requests = [pack({"state": SEEN.state, "images": {"head": one}, "seed": 1}) for one in kinds]
    with served(policy) as address:
        chunks = [unpack(one.data)["actions"] for one in raw(address, *requests)[1:]]
    np.testing.assert_array_equal(chunks[0], chunks[1])
    np.testing.assert_allclose(chunks[0], chunks[2], atol=0.02)


@pytest.mark.parametrize(
    ("message", "words"),
    [
        (b"\x80\x04pickled", "no message in msgpack"),
        (pack({}), "state is NoneType"),
        (pack({"state": SEEN.state[:7]}), "state has shape"),
        (pack({"state": SEEN.state.astype(np.int64)}), "state is int64"),
        (pack({"state": SEEN.state * np.nan, "images": SEEN.images}), "is not finite"),
        (pack({"state": SEEN.state, "images": {"head": b"no"}}), "is no JPEG"),
        (pack({"state": SEEN.state, "speed": 1}), "unknown entries ['speed']"),
        (pack({"state": SEEN.state, "seed": -1}), "seed is -1"),
    ],
)
def test_a_wrong_request_is_refused_by_name_and_the_link_stays(policy, message, words):
    good = pack({"state": SEEN.state, "images": SEEN.images})
    with served(policy) as address:
        _, refusal, answer = raw(address, message, good)
    assert words in refusal.data and "\n" not in refusal.data
    assert unpack(answer.data)["actions"].shape == (20, 16)


@pytest.mark.parametrize(
    ("dtype", "shape", "data"),
    [
        ("|O", [1], b"12345678"),
        ("<f4", [2**40], b"1234"),
        ("<f4", [-1], b"1234"),
        ("<f4", [1, 1, 1, 1, 1], b"1234"),
        ("<f4", None, b"1234"),
    ],
)
def test_an_array_that_is_no_plain_block_of_numbers_is_not_read(dtype, shape, data):
    array = {b"__ndarray__": True, b"data": data, b"dtype": dtype, b"shape": shape}
    with pytest.raises(LayoutError):
        unpack(msgpack.packb({"state": array}))
    with pytest.raises(LayoutError):
        pack({"state": np.array([object()])})


def test_nothing_on_the_link_is_ever_unpickled():
    for file in Path(ate_policy.remote.__file__).parent.glob("*.py"):
        assert "pickle." not in file.read_text() and "import pickle" not in file.read_text()


def test_a_chunk_of_other_precision_is_read_as_float32(policy):
    chunk = read_chunk({"actions": np.zeros((20, 16))}, 20, 16)
    assert chunk.dtype == np.float32 and chunk.flags.writeable


def test_only_cameras_of_the_policy_travel_in_the_size_it_sees(policy):
    seen = Observation(
        state=SEEN.state,
        images={key: np.zeros((144, 256, 3), np.uint8) for key in ("head", "extra")},
        stamp_ns=0,
    )
    message = Request(observation=seen).message(policy.config)
    assert {key: one.shape for key, one in message["images"].items()} == {"head": (72, 128, 3)}


@pytest.mark.parametrize(
    ("told", "answer"),
    [
        ({"__ctrl__": "episode_start", "__task__": "lift", "__episode_id__": 3}, "episode_start"),
        ({"__ctrl__": "episode_end", "__success__": True}, "episode_end"),
        ({"__ctrl__": "reboot"}, "ignored"),
        ({"__ctrl__": ["episode_start"]}, "ignored"),
    ],
)
def test_clients_that_tell_of_episodes_are_answered_and_get_the_same_chunks(policy, told, answer):
    good = pack({"state": SEEN.state, "images": SEEN.images, "seed": 3})
    with served(policy) as address:
        _, first, told_back, second = raw(address, good, msgpack.packb(told), good)
    assert unpack(told_back.data) == {"__ack__": answer}
    np.testing.assert_array_equal(unpack(first.data)["actions"], unpack(second.data)["actions"])
