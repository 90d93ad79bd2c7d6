"""A recorder that is killed and a bag that is cut lose what was in no whole chunk, no more."""

from benchmarks.recorder_kills import KillsConfig, run


def test_kills_and_cuts_spare_closed_episodes_and_the_whole_chunks_of_the_open_one():
    killed, cut = run(KillsConfig(kills=3, cuts=6, longest=0.4, episode=0.2, seed=2))
    assert killed.faults == [] and cut.faults == []
    assert killed.closed + killed.repaired + killed.hopeless >= 3
    assert cut.repaired > 0 and cut.recovered > 0
