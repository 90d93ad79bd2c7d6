"""The count of drift alarms, in short."""

from benchmarks.set_drift import Options, main


def test_shifts_are_found_and_sets_alike_raise_no_alarm(capsys):
    assert main(Options(pairs=2, sizes=(12,))) == 0
    lines = capsys.readouterr().out.splitlines()
    counts = {line[:18].strip(): line.split()[-3:] for line in lines[1:-1]}
    assert counts["none"][0] == "0/2"
    assert counts["joint by 0.4 rad"][1] == "2/2"
    assert lines[-1].startswith("false alarms: 0 of 2")
