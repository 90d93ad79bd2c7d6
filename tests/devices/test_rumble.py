"""The code of the actuator, and when its packets are sent."""

from itertools import groupby

import numpy as np
import pytest

from operator_devices.rumble import (
    MAX_HIGH,
    MAX_LOW,
    NEUTRAL,
    SILENT,
    Buzz,
    RumblePlayer,
    decode,
    encode,
)


@pytest.mark.parametrize("amplitude", [0.12, 0.15, 0.2, 0.24, 0.5, 0.8, 1.0])
@pytest.mark.parametrize("frequency", [82.0, 160.0, 320.0, 620.0])
def test_a_tone_comes_back_as_it_was_and_never_harms_the_actuator(amplitude, frequency):
    data = encode(Buzz(amplitude=amplitude, frequency=frequency))
    back = decode(data)
    assert back.amplitude == pytest.approx(amplitude, rel=0.05)
    assert back.frequency == pytest.approx(frequency, rel=0.02)
    assert data[:4] == data[4:]
    assert data[1] & 0xFE <= MAX_HIGH
    assert data[3] <= MAX_LOW


def test_silence_is_the_neutral_pattern():
    assert encode(SILENT) == NEUTRAL * 2
    assert decode(NEUTRAL * 2) == SILENT


def test_a_tone_is_repeated_while_it_lasts_and_ended_five_times():
    player, sent = RumblePlayer(), []
    player.play(((Buzz(amplitude=0.5), 0.2), (Buzz(amplitude=0.9), 0.1)), 0.0)
    for now in np.arange(0.0, 1.0, 0.01):
        packet = player.packet(float(now))
        if packet is not None:
            sent.append((now, round(decode(packet).amplitude, 1)))
    tones = [tone for _, tone in sent]
    assert [tone for tone, _ in groupby(tones)] == [0.5, 0.9, 0.0]
    assert tones.count(0.5) >= 4
    assert tones.count(0.0) == 5
    assert np.diff([now for now, _ in sent]).max() < 0.065
    assert not player.is_playing


def test_a_tone_that_would_harm_the_actuator_is_refused():
    with pytest.raises(ValueError, match="amplitude"):
        Buzz(amplitude=1.2)
