"""What a Joy-Con's actuator is told, in bytes, and back.

Source of the code: dekuNukem/Nintendo_Switch_Reverse_Engineering, rumble_data_table.
"""

import math
from dataclasses import dataclass

NEUTRAL = bytes.fromhex("00014040")
"""One half at rest."""
MAX_HIGH, MAX_LOW = 0xC8, 0x72
"""Largest amplitude bytes; beyond them the actuator can be damaged."""
LOWEST, HIGHEST = 81.0, 630.0
"""Frequencies that both bands of the actuator have [Hz]."""
WEAKEST = 0.12
"""Amplitude below which the code has other steps, and nobody feels anything."""


@dataclass(frozen=True, kw_only=True)
class Buzz:
    """One tone of the actuator."""

    amplitude: float
    """0 none .. 1 the strongest that does no harm."""
    frequency: float = 160.0
    """[Hz]"""

    def __post_init__(self) -> None:
        low, high = LOWEST, HIGHEST
        if not (0.0 <= self.amplitude <= 1.0 and low <= self.frequency <= high):
            raise ValueError(f"{self}; amplitude must be 0 to 1, frequency {low} to {high} Hz")


SILENT = Buzz(amplitude=0.0)


def encode(buzz: Buzz) -> bytes:
    """The eight bytes of an output report: both halves alike."""
    if buzz.amplitude < WEAKEST:
        return NEUTRAL * 2
    code = round(32.0 * math.log2(buzz.frequency / 10.0))
    high, low = (code - 0x60) * 4, code - 0x40
    step = _step(buzz.amplitude)
    half = bytes(
        (
            high & 0xFF,
            min(2 * step, MAX_HIGH) | high >> 8 & 1,
            low | (0x80 if step & 1 else 0),
            min(0x40 + step // 2, MAX_LOW),
        )
    )
    return half * 2


def decode(data: bytes) -> Buzz:
    """The tone that eight bytes of an output report ask for, by their first half."""
    if len(data) < len(NEUTRAL) or not data[1] & 0xFE:
        return SILENT
    step = (data[1] & 0xFE) // 2
    amplitude = 2.0 ** (step / 32.0) / 8.7
    if step < _step(0.23):
        amplitude = 2.0 ** (step / 16.0) / 17.0
    high = (data[0] | (data[1] & 1) << 8) // 4 + 0x60
    return Buzz(amplitude=min(amplitude, 1.0), frequency=10.0 * 2.0 ** (high / 32.0))


def _step(amplitude: float) -> int:
    if amplitude > 0.23:
        return round(32.0 * math.log2(8.7 * amplitude))
    return round(16.0 * math.log2(17.0 * amplitude))


Pattern = tuple[tuple[Buzz, float], ...]
"""Tones and how long each lasts [s]."""
_REPEAT = 0.05
"""A tone is sent again this often while it lasts, as the kernel's driver does [s]."""
_NEUTRALS = 5
"""An unreliable link may lose the last packet and leave the controller buzzing."""


class RumblePlayer:
    """Which packet is due when; time is an argument."""

    def __init__(self) -> None:
        self._pattern: Pattern = ()
        self._begin = self._next = 0.0
        self._neutrals = 0

    @property
    def is_playing(self) -> bool:
        """Whether packets are still to be sent."""
        return self._neutrals > 0

    def play(self, pattern: Pattern, now: float) -> None:
        """Begin a pattern; it takes the place of the one that plays."""
        self._pattern, self._begin, self._next, self._neutrals = pattern, now, now, _NEUTRALS

    def packet(self, now: float) -> bytes | None:
        """The eight bytes to send at `now` [s], or None: nothing is due."""
        if not self.is_playing or now < self._next:
            return None
        self._next = now + _REPEAT
        elapsed = now - self._begin
        for buzz, duration in self._pattern:
            if elapsed < duration:
                self._next = min(self._next, now + duration - elapsed)
                return encode(buzz)
            elapsed -= duration
        self._neutrals -= 1
        return encode(SILENT)
