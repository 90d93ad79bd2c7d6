"""An arm that still obeys us is nobody else's, however long a process stood still."""

import socket

import numpy as np
import pytest

from arm_driver.interface import ArmSample
from ate_core.contract import load_cell
from realman_driver.client import ArmClient
from realman_driver.records import State

from .test_protocol import packet

MOVING = packet(arm_current_status="move_through_joint", joint_speed=[100] * 7)
GLIDING = packet(arm_current_status="move_J", joint_speed=[100] * 7)


@pytest.fixture
def client():
    client = ArmClient(load_cell(None, "sim").arms["left"])
    here, there = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with here, there:
        client._process.channel, client._linked = here, True
        yield client


def see(client: ArmClient, received: float, state: bytes = MOVING) -> ArmSample:
    client._take_state(State(0, 0, received, 0, state))
    sample = client.latest()
    assert sample is not None
    return sample


@pytest.mark.parametrize("stall", [0.6, 1.0, 5.0, 600.0])
def test_states_that_waited_while_everybody_stood_still_tell_of_our_own_motion(client, stall):
    see(client, 10.0)
    assert client.stream(np.zeros(7))
    for late in np.arange(0.0, 0.4, 0.01):  # the arm brakes
        assert see(client, 10.0 + stall + late).obstacle == ""


def test_glide_of_ours_is_ours_after_a_stall(client):
    see(client, 10.0, GLIDING)
    client.settle(np.zeros(7))
    client._settling = 0  # its answer is here
    assert see(client, 11.5, GLIDING).obstacle == ""


def test_arm_that_goes_on_without_us_obeys_somebody_else(client):
    see(client, 10.0)
    assert client.stream(np.zeros(7))
    told = [see(client, 10.0 + 0.01 * n).obstacle for n in range(1, 100)]
    assert told[45] == "" and "targets of another program" in told[55]
    assert "targets of another program" in see(client, 20.0).obstacle


def test_arm_that_moves_before_we_sent_anything_obeys_somebody_else(client):
    assert "targets of another program" in see(client, 10.0).obstacle


def test_a_fault_of_one_packet_is_told_for_some_ticks_and_ends_with_the_link(client):
    faulty = packet(err=[0x100D], joint_err_code=[0, 0, 0x40, 0, 0, 0, 0])
    for begin in (10.0, 11.0):
        assert "0x100D collision" in see(client, begin, faulty).fault
        told = [see(client, begin + late, packet()) for late in (0.005, 0.01, 0.03, 0.06)]
        assert ["0x100D collision" in one.fault for one in told] == [True, True, True, False]
        assert [one.faulty_joints for one in told] == [(3,)] * 3 + [()]
    see(client, 12.0, faulty)
    client._lose_link("is gone")
    client._linked = True
    assert see(client, 12.01, packet()).fault == ""
