"""A reaction that is taken out is missed by its tests; the benchmark tries all of them."""

from benchmarks.mutations import KILLED, MutationConfig, chosen, run


def test_reactions_that_are_taken_out_of_filter_and_driver_are_missed():
    results = list(run(MutationConfig(quick=True)))
    assert [result.mutation for result in results] == chosen(MutationConfig(quick=True))
    assert len(results) >= 3
    assert {result.verdict for result in results} == {KILLED}
