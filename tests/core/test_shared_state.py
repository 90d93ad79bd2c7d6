"""Shared blocks give consistent copies across processes and refuse what does not fit."""

import dataclasses
import multiprocessing

import numpy as np
import pytest

from ate_core.contract import load_cell
from ate_core.errors import DeviceError
from ate_core.shared_state import (
    SharedBlock,
    arm_target_dtype,
    frame_dtype,
    new_record,
    world_dtype,
)

WORLD_DTYPE = world_dtype(load_cell(None, "sim"))


def write_until_told(path, ready, stop):
    block = SharedBlock(path, WORLD_DTYPE, create=False)
    record = new_record(WORLD_DTYPE)
    number = 0
    while not stop.is_set():
        number += 1
        record["time_ns"] = number
        record["state"] = number
        block.write(record)
        ready.set()
        stop.wait(0.0002)  # a writer at some kilohertz, twenty times faster than the world's


def test_a_reader_never_sees_half_a_write(tmp_path):
    path = tmp_path / "world.state"
    SharedBlock(path, WORLD_DTYPE, create=True).close()
    context = multiprocessing.get_context("spawn")
    ready, stop = context.Event(), context.Event()
    writer = context.Process(target=write_until_told, args=(path, ready, stop))
    writer.start()
    try:
        assert ready.wait(30)
        block = SharedBlock(path, WORLD_DTYPE, create=False)
        for _ in range(500):
            record = block.read()
            assert (record["state"] == record["time_ns"]).all()
    finally:
        stop.set()
        writer.join(10)
    assert writer.exitcode == 0


def test_version_counts_writes(tmp_path):
    block = SharedBlock(tmp_path / "b", frame_dtype(2, 3), create=True)
    assert block.version == 0
    record = new_record(frame_dtype(2, 3))
    record["image"] = np.arange(18).reshape(2, 3, 3)
    block.write(record)
    assert block.version == 1
    np.testing.assert_array_equal(block.read()["image"].ravel(), np.arange(18))


def test_missing_and_foreign_blocks_are_refused(tmp_path):
    with pytest.raises(DeviceError, match="start the simulated cell"):
        SharedBlock(tmp_path / "none", WORLD_DTYPE, create=False)
    SharedBlock(tmp_path / "small", frame_dtype(1, 1), create=True)
    with pytest.raises(DeviceError, match="same cell file"):
        SharedBlock(tmp_path / "small", WORLD_DTYPE, create=False)


def test_each_arm_has_a_place_for_every_joint_of_its_model():
    cell, six = load_cell(None, "sim"), load_cell("six_axis", "sim")
    arms = {"left": cell.arms["left"], "right": six.arms["right"]}
    fields = (*cell.vectors.state[:2], *six.vectors.state[2:])
    vectors = dataclasses.replace(cell.vectors, state=fields, action=fields)
    mixed = dataclasses.replace(six, arms=arms, vectors=vectors)
    dtype = world_dtype(mixed)
    assert dtype["left_q"].shape == (7,) and dtype["right_q"].shape == (6,)
    assert arm_target_dtype(mixed.arms["right"])["q"].shape == (6,)
