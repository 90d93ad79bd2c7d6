"""What is asked and compared before a policy's server drives anything."""

import gc
import socket

import pytest

from ate_bringup.launches import LAUNCHES
from ate_bringup.preflight import checks_before_launch
from ate_core.contract import load_cell
from ate_core.errors import LayoutError, LinkError, UsageError
from ate_policy.remote.client import LinkConfig, RemotePolicy, connect
from ate_policy.remote.greeting import hear
from ate_policy.remote.messages import ServedPolicy

from .conftest import CELL, QUICK, SEEN, Asked, linked, scripted, served


def test_a_launch_asks_the_server_what_its_policy_learned_before_it_starts_anything(
    policy, runtime_dir
):
    other = Asked(policy)
    other.training = {"instructions": ["lift"], "seeds": [*range(20)]}

    def told(address, **given):
        values = {"policy_server": address, "hardware": "sim", "episodes": "25", **given}
        found = checks_before_launch(LAUNCHES["deploy"], LAUNCHES["deploy"].resolve(values))
        return "; ".join(finding.text for finding in found if finding.status == "fail")

    with served(other) as address:
        unknown_camera = "camera head: the policy looks through it"
        assert unknown_camera in told(address)
        assert "20 of 25 starts were demonstrated in training" in told(address, seed="0")
        assert "starts" not in told(address, seed="20")
        assert "x 6 against left_arm" in told(address, cell="six_axis")
        assert "21 actions of each chunk" in told(address, execute="21")
        assert "leave out policy_keys:=" in told(address, policy_keys="keys.yaml")
        assert "cannot go on" not in told(address, chunk_mode="rtc")
        other.continues = False
    with served(other) as address:
        assert "cannot go on with a chunk" in told(address, chunk_mode="rtc")
    assert "start `ate serve` there" in told(address)


def test_a_policy_for_another_layout_is_refused_by_name(policy):
    other = load_cell("six_axis", "sim")
    with served(policy) as address, pytest.raises(LayoutError, match="another layout"):
        RemotePolicy(LinkConfig(address=address, **QUICK), other)


def test_a_server_that_takes_the_link_and_says_nothing_is_told_soon():
    with socket.create_server(("127.0.0.1", 0)) as mute:
        address = f"ws://127.0.0.1:{mute.getsockname()[1]}"
        with pytest.raises(LinkError, match="did not answer within"):
            RemotePolicy(LinkConfig(address=address, greeting=0.1), CELL)
        with pytest.raises(LinkError, match="says nothing for"):
            hear(address, deadline=0.1)


def test_links_that_open_and_never_greet_are_closed_by_who_gives_them_up(policy, caplog):
    greetings = iter([True])

    async def part(link, _):
        await link.close()

    with (
        scripted(policy, part, lambda: next(greetings, False)) as address,
        linked(address, answer=0.1) as remote,
    ):
        for _ in range(8):
            with pytest.raises(LinkError):
                remote.infer(SEEN)
        gc.collect()
        assert "Unclosed" not in caplog.text


def test_a_server_that_does_not_say_who_it_is_is_refused():
    with pytest.raises(LayoutError, match="format None"):
        ServedPolicy.read({}, "ws://x")


@pytest.mark.parametrize(
    ("content", "words"),
    [(None, "No such file"), (b"\xff" * 20, "no text"), (b"short", "at least"), (b"", "at least")],
)
def test_a_file_without_a_token_is_refused_by_name(tmp_path, content, words):
    file = tmp_path / "token.txt"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(UsageError, match=words):
        hear("ws://127.0.0.1:1", str(file))
    with pytest.raises(UsageError, match=words):
        connect("ws://127.0.0.1:1", CELL, token_file=str(file), answer=1.0)


def test_a_server_that_is_not_there_leaves_nothing_open(caplog):
    with pytest.raises(LinkError):
        RemotePolicy(LinkConfig(address="ws://127.0.0.1:1"), CELL)
    gc.collect()
    assert "Unclosed" not in caplog.text and "never retrieved" not in caplog.text


@pytest.mark.parametrize("host", ["a..b:8000", "127.0.0.1:x", "h" * 80, "127.0.0.1:99999", "[::1"])
def test_an_address_that_is_none_is_refused_in_one_line(host):
    with pytest.raises(LinkError) as caught:
        hear(f"ws://{host}", deadline=10.0)
    assert "\n" not in str(caught.value)
