"""Frames of the OmniPicker's RS485 line."""

import random

import pytest

from ate_core.errors import UsageError
from omnipicker_driver.protocol import (
    Command,
    FrameReader,
    Motion,
    Report,
    decode_command,
    decode_report,
    encode_command,
    encode_report,
    wrap,
)


@pytest.mark.parametrize(
    ("command", "frame"),
    [
        (Command(position=1.0), "41 41 01 00 FF FF FF FF FF 00 00 03"),
        (Command(position=0.0), "41 41 01 00 00 FF FF FF FF 00 00 02"),
        (Command(position=128 / 255), "41 41 01 00 80 FF FF FF FF 00 00 82"),
        (
            Command(position=1.0, force=128 / 255, speed=128 / 255),
            "41 41 01 00 FF 80 80 FF FF 00 00 01",
        ),
    ],
)
def test_commands_have_the_published_bytes(command: Command, frame: str) -> None:
    assert wrap(encode_command(command), device_id=1) == bytes.fromhex(frame)


def test_published_report_is_read() -> None:
    (payload,) = FrameReader(1).feed(bytes.fromhex("41 41 01 00 00 4D 00 00 00 00 00 B1"))
    assert decode_report(payload) == Report(position=77 / 255, motion=Motion.REACHED)


@pytest.mark.parametrize("order", ["force_velocity", "velocity_force"])
def test_command_round_trip_keeps_every_field(order: str) -> None:
    command = Command(
        position=51 / 255,
        force=102 / 255,
        speed=153 / 255,
        acceleration=10 / 255,
        deceleration=1.0,
    )
    assert decode_command(encode_command(command, order), order) == command


def test_report_round_trip_keeps_every_field() -> None:
    report = Report(position=0.2, speed=0.4, force=0.6, fault=4, motion=Motion.LOST_OBJECT)
    assert decode_report(encode_report(report)) == report


def test_ramps_are_never_sent_as_zero() -> None:
    payload = encode_command(Command(position=0.5, acceleration=0.0, deceleration=0.0))
    assert payload[4:6] == b"\x01\x01"


def test_positions_outside_the_stroke_are_clamped() -> None:
    assert encode_command(Command(position=1.7))[1] == 255
    assert encode_command(Command(position=-0.2))[1] == 0


def test_frame_behind_junk_that_spells_the_start_is_found() -> None:
    frame = wrap(encode_report(Report(position=65 / 255, speed=65 / 255)), 1)
    assert frame[5:7] == b"\x41\x41"
    reader = FrameReader(1)
    payloads = reader.feed(b"Ajunk" + b"\x41\x41\x01" + frame)
    assert [decode_report(payload).position for payload in payloads] == [65 / 255]
    assert reader.dropped_bytes == 8


def test_reader_survives_lost_bytes_and_split_reads() -> None:
    generator = random.Random(7)
    stream, expected = bytearray(), []
    for number in range(200):
        payload = encode_report(Report(position=number / 255, speed=generator.random()))
        frame = bytearray(wrap(payload, 1))
        if generator.random() < 0.2:
            del frame[generator.randrange(12)]
        else:
            expected.append(payload)
        stream += frame
    reader, found = FrameReader(1), []
    while stream:
        size = generator.randint(1, 30)
        found += reader.feed(bytes(stream[:size]))
        del stream[:size]
    assert [payload for payload in found if payload in expected] == expected
    assert len(found) - len(expected) <= 2  # chance hits of an 8-bit checksum


def test_frames_of_another_device_are_skipped() -> None:
    reader = FrameReader(1)
    assert reader.feed(wrap(encode_report(Report(position=0.5)), 2)) == []


def test_payload_of_wrong_length_is_refused() -> None:
    with pytest.raises(UsageError, match="7 bytes; need 8"):
        wrap(bytes(7), 1)
