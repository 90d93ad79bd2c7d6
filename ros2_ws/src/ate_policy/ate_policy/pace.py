"""How many actions per second a policy can give that thinks for so long."""

from ate_core.findings import Finding, warned


def expected_rate(inference: float, execute: int, horizon: int, tick_rate: float) -> float:
    """Actions per second, holds left out [1/s].

    Args:
        inference: duration of one inference [s].
        execute: actions between the observations of two chunks [ticks].
        horizon: actions per chunk [ticks].
        tick_rate: of the cell [Hz].
    """
    cycle = execute + inference * tick_rate
    return tick_rate * min(horizon / cycle, 1.0)


def pace_finding(
    inference: float, execute: int, horizon: int, tick_rate: float, device: str
) -> Finding | None:
    """A policy too slow for the cell, with what to expect of it; None: it is fast enough.

    Args:
        inference: duration of one inference [s].
        execute: actions between the observations of two chunks [ticks].
        horizon: actions per chunk [ticks].
        tick_rate: of the cell [Hz].
        device: where the network runs.
    """
    rate = expected_rate(inference, execute, horizon, tick_rate)
    if rate > 0.999 * tick_rate:
        return None
    remedy = "run a smaller policy, or serve it from a faster machine"
    if device == "cpu":
        remedy = "give it a GPU (device:=cuda), or run a smaller policy"
    budget = (horizon - execute) / tick_rate
    return warned(
        f"inference on {device}",
        f"takes {1e3 * inference:.0f} ms: about {rate:.1f} of {tick_rate:g} actions per second, "
        "the arms hold in between",
        remedy,
        bound=f"{1e3 * budget:.0f} ms",
    )
