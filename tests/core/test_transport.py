"""By what the messages of our nodes go, and who else may say it."""

from pathlib import Path

import pytest

from ate_core.nodes import transport


@pytest.fixture
def said(monkeypatch):
    """Variables after `use_sockets`, from those given."""

    def after(**given: str) -> dict[str, str]:
        environment = dict(given)
        monkeypatch.setattr(transport.os, "environ", environment)
        transport.use_sockets()
        return environment

    return after


def test_on_one_machine_a_profile_names_its_sockets_alone(said):
    after = said(ROS_AUTOMATIC_DISCOVERY_RANGE="LOCALHOST", RMW_IMPLEMENTATION="rmw_fastrtps_cpp")
    profile = Path(after[transport.PROFILES]).read_text()
    assert "<address>127.0.0.1</address></interfaceWhiteList>" in profile, "nothing leaves it"
    assert "SHM" not in profile and "<useBuiltinTransports>false<" in profile
    assert after[transport.RANGE] == "SYSTEM_DEFAULT", "else ROS adds shared memory"


def test_a_process_that_inherits_the_profile_uses_no_other_way(said):
    after = said(ROS_AUTOMATIC_DISCOVERY_RANGE="LOCALHOST")
    assert said(**after) == after
    assert said(**{**after, "ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST"}) == after


@pytest.mark.parametrize("reach", [{}, {"ROS_AUTOMATIC_DISCOVERY_RANGE": "SUBNET"}])
def test_on_a_network_sockets_are_asked_for_by_the_variable(said, reach):
    assert said(**reach) == {**reach, transport.TRANSPORTS: "UDPv4"}


@pytest.mark.parametrize(
    "given",
    [
        {"ROS_AUTOMATIC_DISCOVERY_RANGE": "OFF"},
        {"ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST", "ROS_STATIC_PEERS": "10.0.0.2"},
        {"ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST", "RMW_IMPLEMENTATION": "rmw_cyclonedds_cpp"},
        {"RMW_IMPLEMENTATION": "rmw_cyclonedds_cpp"},
        {"FASTDDS_BUILTIN_TRANSPORTS": "DEFAULT"},
        {"FASTRTPS_DEFAULT_PROFILES_FILE": "mine.xml"},
    ],
)
def test_what_somebody_said_himself_and_other_middlewares_are_left_alone(said, given):
    assert said(**given) == given
