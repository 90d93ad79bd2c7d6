"""How many publishers a topic really has: the killed are not counted, the doubled are."""

import os
import random

from ate_recorder.publishers import SENDING_NS, Senders, has_ended

TICK_NS = 10_000_000


def endpoint(process: int, host: bytes = b"\x12\x34", vendor: bytes = b"\x01\x0f") -> bytes:
    return vendor + host + (process % 65536).to_bytes(2, "little") + bytes(8) + b"\x13\x03"


def test_only_a_process_of_this_host_that_is_gone_counts_as_ended(tmp_path):
    own = endpoint(os.getpid())
    for process in (77, 65536 + 78):
        (tmp_path / str(process)).mkdir()
    assert has_ended(endpoint(79), own, tmp_path)
    for process in (77, 78):
        assert not has_ended(endpoint(process), own, tmp_path)
    assert not has_ended(endpoint(79, host=b"\x99\x99"), own, tmp_path)
    assert not has_ended(endpoint(79), b"", tmp_path)


def test_identifiers_that_name_no_process_tell_nothing(tmp_path):
    other = endpoint(os.getpid(), vendor=b"\x01\x10")
    assert not has_ended(endpoint(79, vendor=b"\x01\x10"), other, tmp_path)
    assert not has_ended(endpoint(79), endpoint(os.getpid() + 1), tmp_path)


def heard(numbers, senders=None, begin_ns=0):
    senders = senders or Senders()
    for tick, number in enumerate(numbers):
        senders.hear(number, begin_ns + tick * TICK_NS)
    return senders, begin_ns + len(numbers) * TICK_NS


def test_a_publisher_that_loses_messages_is_one():
    chosen = random.Random(1)
    numbers = [number for number in range(1, 2000) if chosen.random() < 0.2]
    senders, now_ns = heard(numbers)
    assert senders.count(now_ns) == 1
    assert senders.count(now_ns + 2 * SENDING_NS) == 0


def test_two_publishers_are_two_wherever_their_numbers_are():
    for apart in (0, 1, 5, 999, 5000, 10**12):
        both = [number for n in range(1, 100) for number in (n + apart, n)]
        senders, now_ns = heard(both)
        assert senders.count(now_ns) == 2, apart


def test_the_replacement_of_a_silent_publisher_is_the_only_one():
    senders, now_ns = heard(range(1, 300))
    senders, now_ns = heard(range(1, 150), senders, now_ns)
    assert senders.count(now_ns) == 1


def test_a_middleware_without_numbers_counts_nobody():
    senders, now_ns = heard([None] * 50)
    assert senders.count(now_ns) == 0
