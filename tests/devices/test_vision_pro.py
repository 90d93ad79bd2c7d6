"""The headset reader against the emulated headset, over real gRPC on loopback."""

import os
import threading
import time
from collections.abc import Callable, Iterator

import grpc
import numpy as np
import pytest
from google.protobuf import descriptor_pb2, descriptor_pool

from ate_core.errors import DeviceError
from operator_devices import headset_protocol as protocol
from operator_devices.vision_pro import VisionProConfig, VisionProReader
from operator_devices.vision_pro_emulator import HeadsetEmulator, HeadsetEmulatorConfig

PORT = 12345


def loopback(last: int) -> str:
    """An address of this process alone, so that runs side by side do not meet."""
    return f"127.{100 + os.getpid() % 100}.{os.getpid() // 100 % 250}.{last}"


def wait_until(condition: Callable[[], object], timeout: float = 5.0) -> None:
    deadline = time.monotonic() + timeout
    tick = threading.Event()
    while not condition():
        assert time.monotonic() < deadline, "condition not met in time"
        tick.wait(0.002)


def pose(x: float = 0.0, y: float = 0.4, z: float = 1.0) -> np.ndarray:
    transform = np.eye(4)
    transform[:3, 3] = (x, y, z)
    return transform


@pytest.fixture
def headset() -> Iterator[HeadsetEmulator]:
    with HeadsetEmulator(loopback(2), PORT) as emulator:
        emulator.set_wrist("left", pose(-0.2))
        emulator.set_wrist("right", pose(0.2))
        emulator.set_head(pose(0.0, 0.0, 1.5))
        emulator.set_tracked("left", True)
        emulator.set_tracked("right", True)
        yield emulator


@pytest.fixture
def reader(headset: HeadsetEmulator) -> Iterator[VisionProReader]:
    source = VisionProReader(VisionProConfig(ip=loopback(2), hand="right"))
    source.start()
    yield source
    source.stop()


def is_tracked(reader: VisionProReader) -> bool:
    sample = reader.latest()
    return sample is not None and sample.tracked


def test_a_headset_that_loses_its_place_is_told_and_its_hand_is_lost(
    headset: HeadsetEmulator, reader: VisionProReader
) -> None:
    wait_until(lambda: is_tracked(reader))
    headset.inject("lose_place")
    wait_until(lambda: not is_tracked(reader))
    assert "does not know where it is" in reader.latest().flaw
    assert "streaming, but the headset does" in reader.trouble
    headset.lose_place(False)
    wait_until(lambda: is_tracked(reader))


def test_poses_arrive_in_the_headset_frame_at_the_sensor_rate(
    headset: HeadsetEmulator, reader: VisionProReader
) -> None:
    wait_until(lambda: is_tracked(reader))
    first = reader.latest()
    assert first is not None
    np.testing.assert_allclose(first.transform_wrist_to_headset, pose(0.2), atol=2e-3)
    np.testing.assert_allclose(first.transform_head_to_headset, pose(0, 0, 1.5), atol=2e-3)
    wait_until(lambda: reader.latest().sequence >= first.sequence + 90)
    last = reader.latest()
    seconds = (last.received_ns - first.received_ns) * 1e-9
    assert (last.sequence - first.sequence) / seconds == pytest.approx(90.0, rel=0.1)


def test_a_hand_never_seen_is_not_tracked(
    headset: HeadsetEmulator, reader: VisionProReader
) -> None:
    with HeadsetEmulator(loopback(3), PORT) as blind:
        source = VisionProReader(VisionProConfig(ip=loopback(3), hand="left"))
        source.start()
        try:
            wait_until(lambda: source.latest() is not None and source.latest().sequence > 20)
            assert not source.latest().tracked
            blind.set_wrist("left", pose())
            blind.set_tracked("left", True)
            wait_until(lambda: is_tracked(source))
        finally:
            source.stop()


def test_a_frozen_wrist_ages_and_loses_tracking_while_messages_go_on(
    headset: HeadsetEmulator, reader: VisionProReader
) -> None:
    wait_until(lambda: is_tracked(reader))
    headset.set_tracked("right", False)
    wait_until(lambda: not is_tracked(reader), timeout=0.6)
    sample = reader.latest()
    assert 0.1 < (sample.received_ns - sample.changed_ns) * 1e-9 < 0.3
    assert reader.connected
    headset.set_tracked("right", True)
    wait_until(lambda: is_tracked(reader))


def test_silence_ends_tracking_and_brings_a_new_session(
    headset: HeadsetEmulator, reader: VisionProReader
) -> None:
    wait_until(lambda: is_tracked(reader))
    session = reader.latest().session
    headset.silence()
    wait_until(lambda: not reader.connected, timeout=1.0)
    assert not reader.latest().tracked
    assert "silent" in reader.status
    headset.silence(False)
    wait_until(lambda: is_tracked(reader), timeout=3.0)
    assert reader.latest().session > session


@pytest.mark.parametrize("fault", ["end_stream", "restart"])
def test_the_reader_comes_back_after_every_lost_connection(
    headset: HeadsetEmulator, reader: VisionProReader, fault: str
) -> None:
    for _ in range(3):
        wait_until(lambda: is_tracked(reader))
        session = reader.latest().session
        headset.inject(fault)
        wait_until(lambda s=session: reader.latest().session > s and is_tracked(reader))


def test_recentring_the_headset_begins_a_new_session(
    headset: HeadsetEmulator, reader: VisionProReader
) -> None:
    wait_until(lambda: is_tracked(reader))
    session = reader.latest().session
    headset.recentre(pose(0.5, 0.0, 0.0))
    wait_until(lambda: reader.latest().transform_head_to_headset[0, 3] > 0.4)
    assert reader.latest().session == session + 1


def test_exchanged_hands_begin_a_new_session(
    headset: HeadsetEmulator, reader: VisionProReader
) -> None:
    wait_until(lambda: is_tracked(reader))
    session = reader.latest().session
    headset.swap_hands()
    wait_until(lambda: reader.latest().transform_wrist_to_headset[0, 3] < -0.1)
    assert reader.latest().session == session + 1


def test_repeats_echoes_and_tails_are_no_poses(
    headset: HeadsetEmulator, reader: VisionProReader
) -> None:
    wait_until(lambda: is_tracked(reader))
    session = reader.latest().session
    headset.repeat()
    headset.send_tails()
    for _ in range(5):
        headset.send_benchmark_echo()
    first = reader.latest()
    wait_until(lambda: reader.latest().sequence >= first.sequence + 60)
    assert is_tracked(reader)
    assert reader.latest().session == session
    assert reader.rejected == 0


def test_a_client_without_version_gets_only_empty_messages(headset: HeadsetEmulator) -> None:
    request = protocol.discovery_request("127.0.0.1")
    request.Head.m30 = 0.0
    with grpc.insecure_channel(f"{loopback(2)}:{PORT}") as channel:
        call = channel.unary_stream(protocol.METHOD_PATH)(request.SerializeToString())
        start = time.monotonic()
        assert [next(call), next(call)] == [b"", b""]
        assert time.monotonic() - start == pytest.approx(0.5, abs=0.2)
        call.cancel()


def test_a_refused_reader_says_so() -> None:
    config = HeadsetEmulatorConfig(minimum_version=30000.0)
    with HeadsetEmulator(loopback(4), PORT, config):
        source = VisionProReader(VisionProConfig(ip=loopback(4), hand="left"))
        source.start()
        wait_until(lambda: source.state == "refused")
        assert source.latest() is None
        source.stop()


def test_the_message_classes_do_not_clash_with_the_vendors() -> None:
    """Both may be loaded in one process: the vendor's live in protobuf's default pool."""
    file = descriptor_pb2.FileDescriptorProto()
    protocol.HandUpdate.DESCRIPTOR.file.CopyToProto(file)
    descriptor_pool.Default().Add(file)  # raises TypeError where file or symbol is taken


def test_an_absent_headset_blocks_neither_start_nor_stop() -> None:
    source = VisionProReader(VisionProConfig(ip=loopback(9), hand="left"))
    start = time.monotonic()
    source.start()
    assert source.latest() is None
    assert not source.connected
    source.stop()
    assert time.monotonic() - start < 1.5


@pytest.mark.parametrize(("held_up", "is_told"), [(0.0, False), (0.4, True)])
def test_a_link_that_is_late_from_its_beginning_is_told(
    held_up: float, is_told: bool, headset: HeadsetEmulator, monkeypatch, caplog
) -> None:
    answer, never = headset._answer, threading.Event()

    def late(request, context):
        never.wait(held_up)
        yield from answer(request, context)

    monkeypatch.setattr(headset, "_answer", late)
    headset.restart()
    reader = VisionProReader(VisionProConfig(ip=loopback(2), hand="right"))
    reader.start()
    try:
        wait_until(lambda: reader.connected)
        assert (reader.first_delay >= held_up) and reader.first_delay > 0.0
        assert ("late" in reader.status) == ("all may be as late" in caplog.text) == is_told
    finally:
        reader.stop()


def test_two_emulators_on_one_address_are_refused(headset: HeadsetEmulator) -> None:
    with pytest.raises(DeviceError, match="cannot listen"):
        HeadsetEmulator(loopback(2), PORT).start()


@pytest.mark.parametrize("joints", [25, 27])
def test_messages_have_the_shape_the_vendors_client_reads(joints: int) -> None:
    """Both wrists, the head and all joints in one parsed message."""
    config = HeadsetEmulatorConfig(joints=joints)
    with HeadsetEmulator(loopback(5), PORT, config) as emulator:
        emulator.set_wrist("left", pose())
        emulator.set_tracked("left", True)
        with grpc.insecure_channel(f"{loopback(5)}:{PORT}") as channel:
            method = channel.unary_stream(
                protocol.METHOD_PATH, response_deserializer=protocol.HandUpdate.FromString
            )
            call = method(protocol.discovery_request("127.0.0.1").SerializeToString())
            message = next(call)
            call.cancel()
    assert len(message.left_hand.skeleton.jointMatrices) == joints
    assert len(message.right_hand.skeleton.jointMatrices) == joints
    assert message.left_hand.wristMatrix.m13 == pytest.approx(1.0, abs=1e-2)  # y is up on the wire
    assert message.Head.m33 == 1.0
    np.testing.assert_array_equal(protocol.read_matrix(message.right_hand.wristMatrix), np.eye(4))


def test_an_emulated_hand_is_where_it_was_at_even_times_however_late_its_messages() -> None:
    asked: list[float] = []

    def motion(time: float) -> np.ndarray:
        asked.append(time)
        return pose(0.01 * time, 0.4, 1.0)

    config = HeadsetEmulatorConfig(rate=90.36, jitter=1e-3)
    with HeadsetEmulator(loopback(7), PORT, config) as emulator:
        emulator.follow("left", motion)
        emulator.set_tracked("left", True)
        reader = VisionProReader(VisionProConfig(ip=loopback(7), hand="left"))
        reader.start()
        try:
            seen = 0
            for _ in range(40):  # each wait ends with a pose, or after a second
                reader.wait_change(seen, 1.0)
                sample = reader.latest()
                seen = 0 if sample is None else sample.changed_ns
        finally:
            reader.stop()
    assert np.median(np.diff(asked)) == pytest.approx(1.0 / 90.36, abs=1e-9)
