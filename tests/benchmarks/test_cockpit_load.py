"""The benchmark of the page's load: what counts as a change."""

from benchmarks.cockpit_load import LoopReport


def test_a_loop_is_judged_by_the_median_of_turns_that_followed_each_other():
    report = LoopReport(without=[11.0, 30.0, 12.0], looked_at=[11.5, 12.0, 12.4])
    assert round(report.change, 1) == 0.4
    assert "change +0.4 ms  as before" in report.line("left driver")
    slower = LoopReport(without=[11.0, 11.0], looked_at=[12.5, 13.5])
    assert "SLOWER, bound 1 ms" in slower.line("left driver")
    silent = LoopReport(without=[11.0], looked_at=[float("nan")])
    assert "SILENT in a turn" in silent.line("left driver")
