"""Where the time of the calls to a server goes, and whether they come within their deadline."""

import math
import threading
from collections import deque
from collections.abc import Mapping
from typing import Any

import numpy as np

from ate_core.findings import Finding, failed, warned

PARTS = ("network", "queue", "inference")
"""The way there and back; waiting for other clients; the network at work."""
LONGEST_ANSWER = 4.0
"""No chunk may be waited for as long as this [s]: the runtime would give the call up."""
NEAR = 0.75
"""A server that needs more than this share of the deadline misses it now and then."""
_REMEMBERED = 1000


class Latency:
    """Parts of the latest calls; one thread notes, others read."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._spans: deque[tuple[float, ...]] = deque(maxlen=_REMEMBERED)

    def note(self, answer: Mapping[str, Any], total: float) -> None:
        """Note a call.

        Args:
            answer: of the server; a part that it does not tell counts as 0.
            total: from the request to the answer [ms].
        """
        told = answer.get("server_timing")
        parts = told if isinstance(told, dict) else {}
        queue, inference = (_number(parts.get(key)) for key in ("queue_ms", "infer_ms"))
        network = max(total - queue - inference, 0.0)
        with self._lock:
            self._spans.append((network, queue, inference))

    def figures(self) -> dict[str, float]:
        """Median and 99th percentile of each part [ms]; empty before the first call."""
        with self._lock:
            spans = np.array(self._spans)
        if not len(spans):
            return {}
        table = {}
        for part, column in zip(PARTS, spans.T, strict=True):
            table[f"{part}_ms"] = float(np.median(column))
            table[f"{part}_p99_ms"] = float(np.percentile(column, 99))
        return table


def deadline_finding(answer: float, deadline: float) -> Finding | None:
    """A server whose chunks come after the deadline, or hardly before it; None: it is in time.

    Args:
        answer: from a request to its chunk, as measured [s].
        deadline: a chunk is waited for so long [s].
    """
    if answer <= NEAR * deadline:
        return None
    enough = min(math.ceil(100.0 * answer / NEAR) / 100.0, LONGEST_ANSWER)
    remedy = "serve it from a faster machine, or serve a smaller policy"
    if enough > max(answer, deadline):
        remedy = f"give policy_deadline_ms:={1e3 * enough:.0f}, or {remedy}"
    tell = failed if answer >= deadline else warned
    value = f"takes {1e3 * answer:.0f} ms per chunk, policy_deadline_ms is {1e3 * deadline:.0f}"
    return tell("the policy's server", value, remedy)


def latency_sentence(figures: Mapping[str, float]) -> str:
    """Figures for people; empty where there are none."""
    if not figures:
        return ""
    parts = (f"{part} {figures[f'{part}_ms']:.1f} ms" for part in PARTS)
    tails = (f"{figures[f'{part}_p99_ms']:.1f}" for part in PARTS)
    return f"of the server: {', '.join(parts)} (p99 {', '.join(tails)} ms)"


def _number(value: object) -> float:
    return float(value) if isinstance(value, int | float) and np.isfinite(value) else 0.0
