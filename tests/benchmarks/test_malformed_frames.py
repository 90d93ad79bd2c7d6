"""Nothing of the RealMan driver or its emulated controller breaks on what others send."""

from benchmarks.malformed_frames import BenchmarkConfig, run


def test_malformed_frames_are_refused_and_the_controller_serves_on() -> None:
    counts, broken = run(BenchmarkConfig(frames=4000, seed=7, ip="127.79.1.1"))
    assert broken == []
    assert sum(counts.values()) == 4000
