"""Recorded and live data take the same code: the same messages give the same arrays."""

import functools
import json
import struct
import tempfile
from collections import deque
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from ate_core.errors import EpisodeError
from ate_core.observation import LiveBuffer, Observation
from ate_core.streams import (
    INFO_TOPIC,
    OUTCOME_TOPIC,
    TEXT_TYPE,
    cell_streams,
    header_stamp_ns,
    read_value,
)
from ate_recorder.bag_writer import TYPESTORE, BagTopic, BagWriter, encode_text
from training.convert_bags import ConvertConfig, convert
from training.data.bag_reader import read_episode_bag
from training.data.build_episode import build_episode
from training.data.clock_steps import CLOCK_TOPIC
from training.data.episode_file import read_episode


def decode_for_test(data: bytes) -> np.ndarray:
    """Stand in for a JPEG decoder: the bytes themselves as a one-row image."""
    return np.repeat(np.frombuffer(data, np.uint8)[None, :, None], 3, axis=2)


def test_the_same_messages_give_equal_arrays_live_and_converted(studio, tmp_path):
    messages = studio.messages(seconds=2.0, seed=3)
    studio.record(tmp_path / "bags", messages)
    config = ConvertConfig(bags=tmp_path / "bags", output=tmp_path / "data")
    assert convert(config) == 0
    episode = read_episode(tmp_path / "data" / "episode_000000.hdf5", studio.cell.layout)

    cameras = studio.cell.layout.cameras
    live = LiveBuffer(
        studio.cell, cameras=cameras, decoder=decode_for_test, use_environment=True, history=5.0
    )
    for message in messages:
        if message.spec.kind != "other":
            decoded = TYPESTORE.deserialize_cdr(message.data, message.spec.msgtype)
            value = read_value(message.spec, decoded)
            live.add(message.spec.name, header_stamp_ns(decoded), value)

    assert len(episode) > 30
    for k, tick in enumerate(episode.timestamps_ns.tolist()):
        seen = live.observe(tick, "put it down")
        assert isinstance(seen, Observation), str(seen)
        np.testing.assert_array_equal(seen.state, episode.state[k])
        np.testing.assert_array_equal(seen.environment, episode.environment[k])
        for key in cameras:
            np.testing.assert_array_equal(
                seen.images[key], decode_for_test(episode.images[key][k])
            )


LOOKS = 16
RATES = {"image": 15, "poses": 20, "ratio": 25}
SLACK_NS = 80_000_000
"""Longest way of a message in these tests [ns]; the live side looks at a tick when it is over."""


@functools.cache
def looks(encode, spec):
    """Different messages of a stream."""
    rng = np.random.default_rng(len(spec.name))
    return [encode(spec, 0, rng) for _ in range(LOOKS)]


@dataclass(frozen=True)
class Weather:
    """What becomes of messages on their way."""

    seed: int
    jitter: float
    """Share of a period by which stamps move."""
    drop: float
    """Share that is lost."""
    delay_ns: int
    """Longest way; above a period messages overtake one another [ns]."""
    step_ns: int
    """Step of the wall clock [ns]."""
    step_at_ns: int
    """When, from the start [ns]."""


weathers = st.builds(
    Weather,
    seed=st.integers(0, 10_000),
    jitter=st.floats(0.0, 0.9),
    drop=st.sampled_from([0.0, 0.1, 0.4, 0.8]),
    delay_ns=st.integers(0, SLACK_NS),
    step_ns=st.sampled_from([0, 0, 3600 * 10**9, -3600 * 10**9, 400_000_000, -400_000_000]),
    step_at_ns=st.integers(300_000_000, 1_000_000_000),
)


def messages_in(studio, weather, seconds=1.3):
    """Stamp on the wall clock, receipt on the one that never steps, stream and bytes."""
    rng = np.random.default_rng(weather.seed)
    sent = []
    for spec in cell_streams(studio.cell):
        if spec.kind == "other":
            continue
        rate = RATES.get(spec.kind, 40)
        for index in range(int(seconds * rate)):
            after = int((index + weather.jitter * rng.random()) * 1e9 / rate)
            if index and rng.random() < weather.drop:
                continue
            wall = after + (weather.step_ns if after >= weather.step_at_ns else 0)
            stamp_ns = studio.start_ns + wall
            data = bytearray(looks(studio.encode, spec)[index % LOOKS])
            struct.pack_into("<iI", data, 4, *divmod(stamp_ns, 10**9))
            receive_ns = studio.start_ns + after + int(rng.integers(0, weather.delay_ns + 1))
            sent.append((receive_ns, stamp_ns, spec, bytes(data)))
    return sorted(sent, key=lambda entry: entry[0])


def write_bag(studio, folder, sent, weather):
    """A bag as the recorder writes it: ordered by receipt, with the step of the clock marked."""
    writer = BagWriter(folder)
    cell, start = studio.cell, studio.start_ns
    info = {"format": 1, "contract": cell.canonical_text(), "start_ns": start}
    mark = {"bag_ns": start + weather.step_at_ns, "step_ns": weather.step_ns}
    texts = [(start, INFO_TOPIC, info)]
    if weather.step_ns:
        texts.append((mark["bag_ns"], CLOCK_TOPIC, mark))
    end = max(receive for receive, *_ in sent) + 10**6
    texts.append((end, OUTCOME_TOPIC, {"outcome": "success", "end_ns": end}))
    rows = [
        (at, BagTopic(name=topic, msgtype=TEXT_TYPE), encode_text(json.dumps(fields)))
        for at, topic, fields in texts
    ]
    rows[1:1] = [(at, BagTopic(name=s.topic, msgtype=s.msgtype), data) for at, _, s, data in sent]
    for at, topic, data in sorted(rows, key=lambda row: row[0]):
        writer.write(topic, at, data)
    writer.close()


# Not shrunk: that takes minutes, and a weather is read as it is.
@settings(
    max_examples=15, deadline=None, derandomize=True, phases=[Phase.explicit, Phase.generate]
)
@given(weather=weathers)
def test_live_and_converted_agree_in_any_weather(studio, weather):
    sent = messages_in(studio, weather)
    with tempfile.TemporaryDirectory() as name:
        bag = Path(name) / "episode_000000"
        write_bag(studio, bag, sent, weather)
        config = ConvertConfig(bags=bag, output=Path(name) / "data", min_seconds=0.2)
        try:
            episode, refusal = build_episode(read_episode_bag(bag), config), ""
        except EpisodeError as error:
            refusal = str(error)
            assert weather.drop, refusal
            assert any(live_refuses(studio, sent, weather)) or "/wrench" in refusal
            return
        for k, (tick, seen) in enumerate(observed(studio, sent, weather, episode.timestamps_ns)):
            if isinstance(seen, Observation) and is_settled(studio, sent, weather, tick):
                np.testing.assert_array_equal(seen.state, episode.state[k])
                np.testing.assert_array_equal(seen.environment, episode.environment[k])
                for key, images in episode.images.items():
                    np.testing.assert_array_equal(seen.images[key], decode_for_test(images[k]))
            else:
                assert weather.step_ns, str(seen)


def live_refuses(studio, sent, weather):
    """Whether the live side refuses, at ticks all along the episode."""
    ticks = studio.start_ns + np.arange(4, 24) * 50_000_000
    for _, seen in observed(studio, sent, weather, ticks):
        yield not isinstance(seen, Observation)


def observed(studio, sent, weather, ticks):
    """What the live side says at each tick, given what had come when all of it could have."""
    live = LiveBuffer(
        studio.cell,
        cameras=studio.cell.layout.cameras,
        decoder=decode_for_test,
        use_environment=True,
    )
    waiting = deque(sent)
    for tick in ticks.tolist():
        while waiting and waiting[0][0] <= tick + SLACK_NS:
            _, stamp_ns, spec, data = waiting.popleft()
            message = TYPESTORE.deserialize_cdr(data, spec.msgtype)
            live.add(spec.name, stamp_ns, read_value(spec, message))
        is_after = tick >= studio.start_ns + weather.step_at_ns
        yield tick, live.observe(tick + (weather.step_ns if is_after else 0))


def is_settled(studio, sent, weather, tick):
    """Whether no stream has samples of both clocks near a tick."""
    step_ns = studio.start_ns + weather.step_at_ns
    if not weather.step_ns or tick + SLACK_NS < step_ns:
        return True
    newest = {}
    for _, stamp_ns, spec, _ in sent:
        true_ns = stamp_ns - weather.step_ns
        if not spec.name.endswith("_command") and step_ns <= true_ns <= tick:
            newest[spec.name] = max(true_ns, newest.get(spec.name, 0))
    names = {spec.name for *_, spec, _ in sent if not spec.name.endswith("_command")}
    return all(newest.get(name, 0) > step_ns + 400_000_000 for name in names)
