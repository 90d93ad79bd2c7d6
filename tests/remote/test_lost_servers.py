"""A policy's server that is silent, ends, changes or speaks nonsense."""

import dataclasses
import gc
import hashlib
import threading
import time
from contextlib import contextmanager

import numpy as np
import pytest

from ate_core.errors import LayoutError, LinkError, UsageError
from ate_policy.checkpoint import files_sha256
from ate_policy.chunk_check import ChunkLimits
from ate_policy.chunking import ActionQueue, ChunkingConfig
from ate_policy.remote import serve_command
from ate_policy.remote.client import LinkConfig, RemotePolicy
from ate_policy.remote.wire import pack, unpack
from ate_policy.runtime import PolicyRuntime
from benchmarks.relay import Relay
from benchmarks.server_recovery import BACK, FAULTS, RecoveryConfig, run_cases

from .conftest import CELL, QUICK, SEEN, Asked, linked, saved, scripted, served


def test_a_silent_server_is_told_within_the_deadline_and_its_late_answer_is_never_read(policy):
    asked, freed = [], threading.Event()

    def infer(observation, seed=None, old=None):
        asked.append(seed)
        if seed == 1:
            freed.wait(10.0)
        return policy.infer(observation, seed, old)

    with served(Asked(policy, infer)) as address, linked(address, answer=2.0) as remote:
        remote._config = LinkConfig(address=address, **{**QUICK, "answer": 0.1})
        with pytest.raises(LinkError, match="did not answer within"):
            remote.infer(SEEN, 1)
        freed.set()
        remote._config = LinkConfig(address=address, **QUICK)
        np.testing.assert_allclose(remote.infer(SEEN, 2), policy.infer(SEEN, 2), atol=1e-6)
    assert asked == [1, 2]


def test_a_server_that_ends_is_told_and_found_again_at_the_same_address(policy):
    with served(policy) as address:
        remote = RemotePolicy(LinkConfig(address=address, **QUICK), CELL)
        remote.infer(SEEN)
    for _ in range(3):
        with pytest.raises(LinkError, match="policy server ws://"):
            remote.infer(SEEN)
    with served(policy, port=int(address.rsplit(":", 1)[1])):
        remote._config = LinkConfig(address=address, **QUICK)
        assert remote.infer(SEEN, 1).shape == (20, 16)
    remote.close()


def test_another_policy_at_the_same_address_is_refused_by_what_differs(policy):
    with served(policy) as address:
        remote = RemotePolicy(LinkConfig(address=address, **QUICK), CELL)
    other = Asked(policy)
    other.training = {"instructions": ["drop"]}
    with served(other, port=int(address.rsplit(":", 1)[1])):
        remote._config = LinkConfig(address=address, **QUICK)
        with pytest.raises(LinkError):  # the link of before
            remote.infer(SEEN)
        for _ in range(2):
            with pytest.raises(LayoutError, match=r"another policy now \(training\)"):
                remote.infer(SEEN)
    remote.close()


@contextmanager
def restarted(policy, before, now):
    """A link to a server with these hashes that was ended and started anew with those."""
    with served(policy, files=before) as address:
        remote = RemotePolicy(LinkConfig(address=address, **QUICK), CELL)
    with served(policy, files=now, port=int(address.rsplit(":", 1)[1])):
        with pytest.raises(LinkError):  # the link of before
            remote.infer(SEEN)
        yield remote
    remote.close()


@pytest.mark.parametrize("name", ["model.safetensors", "statistics.json", "config.json"])
def test_a_server_that_comes_back_with_other_files_is_refused_by_their_names(
    name, policy, tmp_path
):
    folder = saved(policy, tmp_path / "policy")
    before = files_sha256(folder)
    data = bytearray((folder / name).read_bytes())
    data[-3] ^= 1  # one more step of training, or another sampler
    (folder / name).write_bytes(bytes(data))
    with restarted(policy, before, files_sha256(folder)) as remote:
        for _ in range(2):
            with pytest.raises(LayoutError) as caught:
                remote.infer(SEEN)
            assert f"another policy now (sha256 of {name})" in str(caught.value)
            assert "start the policy again" in str(caught.value)


@pytest.mark.parametrize(("before", "now"), [(0, 0), (0, 1), (1, 0), (1, 1)])
def test_a_server_that_comes_back_with_the_same_files_or_tells_none_is_taken(
    before, now, policy, tmp_path
):
    told = (None, files_sha256(saved(policy, tmp_path / "policy")))
    with restarted(policy, told[before], told[now]) as remote:
        np.testing.assert_allclose(remote.infer(SEEN, 3), policy.infer(SEEN, 3), atol=1e-6)


def test_a_served_checkpoint_tells_the_hashes_of_its_files_and_that_they_took_long(
    policy, tmp_path, monkeypatch, caplog
):
    folder, greetings = saved(policy, tmp_path / "policy"), []
    monkeypatch.setattr(serve_command, "SLOW", -1.0)
    monkeypatch.setattr(
        serve_command.PolicyServer, "serve", lambda self, _: greetings.append(unpack(self._hello))
    )
    monkeypatch.setattr(serve_command.asyncio, "run", lambda _: None)
    serve_command.serve(serve_command.ServeConfig(checkpoint=folder, device="cpu"))
    assert greetings[0]["files_sha256"] == {
        name: hashlib.sha256((folder / name).read_bytes()).hexdigest()
        for name in ("config.json", "model.safetensors", "statistics.json")
    }
    assert "SHA-256 of its files took" in caplog.text


def test_an_observation_of_before_a_long_search_is_not_answered(policy):
    with served(policy) as address, linked(address, stale=0.0, answer=10.0) as remote:
        remote._loop.run_until_complete(remote._drop())
        with pytest.raises(LinkError, match="is there again"):
            remote.infer(SEEN)
        assert remote.infer(SEEN).shape == (20, 16)


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (b"garbage", "no message in msgpack"),
        (pack({"actions": np.zeros((20, 7), np.float32)}), "must be float"),
        (pack({"actions": np.zeros((20, 16), np.int64)}), "must be float"),
        (pack({"actions": np.zeros((20, 16), np.float32), "tick": 77}), "answered request 77"),
        ("ValueError: nothing\nhere", "refuses: ValueError: nothing here"),
        (None, "closed the link"),
    ],
)
def test_a_server_that_speaks_nonsense_gives_no_chunk(policy, answer, words):
    async def talk(socket, _):
        if answer is None:
            await socket.close(code=1011)
        elif isinstance(answer, str):
            await socket.send_str(answer)
        else:
            await socket.send_bytes(answer)

    with (
        scripted(policy, talk) as address,
        linked(address, answer=10.0) as remote,
        pytest.raises((LayoutError, LinkError, UsageError), match=words),
    ):
        remote.infer(SEEN)


@pytest.mark.filterwarnings("error::ResourceWarning")
def test_a_call_under_way_ends_at_once_when_the_link_is_closed_and_nothing_is_left(policy, caplog):
    asked = threading.Event()

    async def say_nothing(*_):
        asked.set()

    failures = []

    def call(remote):
        try:
            remote.infer(SEEN)
        except LinkError as error:
            failures.append(str(error))

    with scripted(policy, say_nothing) as address, linked(address, answer=60.0) as remote:
        thread = threading.Thread(target=call, args=(remote,))
        thread.start()
        assert asked.wait(10.0)
        remote.close()
        thread.join(10.0)
        with pytest.raises(LinkError, match="was closed"):
            remote.infer(SEEN)
    gc.collect()
    assert len(failures) == 1 and "was closed" in failures[0]
    assert "Unclosed" not in caplog.text


def test_a_lost_server_never_makes_the_runtime_stuck_and_an_invalid_chunk_is_refused():
    answers = [LinkError("gone")] * 30 + [np.full((20, 16), np.nan, np.float32)]
    left = list(answers)

    def infer(_):
        one = left.pop(0) if left else np.tile(SEEN.state, (20, 1))
        if isinstance(one, Exception):
            raise one
        return one

    queue = ActionQueue(ChunkingConfig(execute=10))
    runtime = PolicyRuntime(infer, ChunkLimits.of_cell(CELL), queue)
    deadline = time.monotonic() + 10.0
    tick = 0
    while runtime.stats().chunks == 0 and time.monotonic() < deadline:
        if not runtime.is_inferring:
            runtime.tick(tick, lambda: SEEN)
            tick += 1
        time.sleep(0.0005)
    stats = runtime.stats()
    runtime.close()
    assert stats.chunks == 1 and not stats.stuck and stats.reason == ""
    assert stats.refusals == {"link": 30, "not finite": 1}


def test_a_server_that_greets_later_than_a_chunk_may_take_is_found_again(policy):
    with served(policy) as address:
        relay = Relay(int(address.rsplit(":", 1)[1]))
        with linked(f"ws://127.0.0.1:{relay.port}", answer=5.0) as remote:
            remote._config = dataclasses.replace(remote._config, answer=0.2)
            relay.greeting_delay = 0.5
            relay.cut()
            told, chunk, deadline = set(), None, time.monotonic() + 20.0
            while chunk is None and time.monotonic() < deadline:
                try:
                    chunk = remote.infer(SEEN)
                except LinkError as error:
                    told.add(str(error))
        relay.close()
    assert chunk is not None, told


def test_why_a_server_is_away_is_told_in_the_same_words_at_every_try(policy):
    with served(policy) as address:
        remote = RemotePolicy(LinkConfig(address=address, **QUICK), CELL)
    remote._config = LinkConfig(address=address, answer=0.05, first_pause=0.12, longest_pause=0.12)
    told = []
    for _ in range(12):
        with pytest.raises(LinkError) as caught:
            remote.infer(SEEN)
        told.append(str(caught.value))
    remote.close()
    assert len(set(told[-8:])) == 1 and "Cannot connect" in told[-1]


@pytest.mark.filterwarnings("error::ResourceWarning")
def test_a_server_may_fail_at_any_moment_and_chunks_come_again_or_the_end_is_named(caplog):
    config = RecoveryConfig(cases=9, longest=0.4, seed=3)
    cases = list(run_cases(config))
    assert [case.fault for case in cases] == list(FAULTS)
    assert all(case.back < BACK for case in cases), cases
    gc.collect()
    assert "Unclosed" not in caplog.text, "every link is closed by who gives it up"


@pytest.mark.filterwarnings("error::ResourceWarning")
def test_a_search_that_is_under_way_ends_when_the_link_is_closed(policy, caplog):
    with served(policy) as address:
        remote = RemotePolicy(LinkConfig(address=address, **QUICK), CELL)
    remote._config = LinkConfig(address=address, answer=0.05, first_pause=60.0)
    for _ in range(3):
        with pytest.raises(LinkError):
            remote.infer(SEEN)
    remote.close()
    gc.collect()
    assert "never retrieved" not in caplog.text and "Unclosed" not in caplog.text
