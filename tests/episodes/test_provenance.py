"""Which episodes are of one recording, whatever was cut and joined."""

from training.data.provenance import recordings_of, source_of_joined, source_of_part

WHOLE = ["bag_0", "bag_1", "bag_2"]


def test_parts_of_parts_and_what_is_joined_again_are_of_one_recording():
    head, rest = (source_of_part("episode_000001.hdf5", *at, "bag_1") for at in ((0, 9), (9, 30)))
    middle, tail = (source_of_part("episode_500001.hdf5", *at, rest) for at in ((0, 5), (5, 21)))
    files = ["episode_500000.hdf5", "episode_500002.hdf5"]
    joined = source_of_joined(files, [head, middle])
    again = source_of_part("episode_500004.hdf5", 0, 3, joined)
    assert joined == "episode_500000.hdf5 + episode_500002.hdf5 of bag_1"
    assert recordings_of([WHOLE[0], joined, WHOLE[2], tail, again]) == [0, 1, 2, 1, 1]
    assert recordings_of([*WHOLE, tail]) == [0, 1, 2, 1]  # and a copy of the whole


def test_what_joins_two_recordings_is_of_both():
    joined = source_of_joined(["a.hdf5", "b.hdf5"], ["bag_0", "bag_2"])
    part = source_of_part("c.hdf5", 0, 5, joined)
    assert recordings_of([*WHOLE, part]) == [0, 1, 0, 0]


def test_whole_episodes_are_never_taken_for_one():
    assert recordings_of(["", "", "bag_0", "bag_0"]) == [0, 1, 2, 3]


def test_parts_of_episodes_without_a_source_go_by_their_files():
    parts = [source_of_part(f"episode_00000{i // 2}.hdf5", 0, 5, "") for i in range(4)]
    joined = source_of_joined(["e.hdf5", "f.hdf5"], ["", parts[3]])
    assert recordings_of(["", *parts, joined]) == [0, 1, 1, 2, 2, 2]
