"""Every rule of a bag is broken once on purpose and found; a sound bag breaks none."""

import dataclasses
import json
import shutil
import struct

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ate_core.streams import INFO_TOPIC, OUTCOME_TOPIC
from ate_recorder.bag_writer import encode_text
from benchmarks.rewritten_bag import rewrite_bag
from training.convert_bags import ConvertConfig, convert_episode
from training.data.bag_reader import TYPESTORE, bag_file, read_messages
from training.repair import RepairConfig, repair
from training.tasks.in_process import InProcess
from training.validate.bag_checks import check_bag
from training.validate.command import ValidateConfig, check_all, validate
from training.validate.page import PAGE, page
from training.validate.specification import RULES

LEFT = "/left/arm/joint_states"


def text_of(message):
    return json.loads(TYPESTORE.deserialize_cdr(message.data, message.msgtype).data)


def rewrite(bag, change):
    """Write the bag anew from its messages as `change` returns them."""
    rewrite_bag(bag, change(list(read_messages(bag_file(bag)))))


def changed(topic, change, only=None):
    """A change of the messages of one topic; `only` the one of that number."""

    def apply(messages):
        own = [index for index, one in enumerate(messages) if one.topic == topic]
        for index in own if only is None else [own[only]]:
            messages[index] = dataclasses.replace(messages[index], **change(messages[index]))
        return messages

    return lambda bag: rewrite(bag, apply)


def told(topic, **fields):
    """The text of a topic with other fields; None takes one away."""

    def change(message):
        document = {**text_of(message), **fields}
        kept = {key: value for key, value in document.items() if value is not None}
        return {"data": encode_text(json.dumps(kept))}

    return changed(topic, change)


def without(topic, keep=0):
    def apply(messages):
        own = [one for one in messages if one.topic == topic]
        return [one for one in messages if one.topic != topic or one in own[:keep]]

    return lambda bag: rewrite(bag, apply)


def overwrite(place, data):
    def apply(bag):
        content = bytearray(bag_file(bag).read_bytes())
        content[place : place + len(data)] = data
        bag_file(bag).write_bytes(content)

    return apply


def truncate(bag):
    file = bag_file(bag)
    file.write_bytes(file.read_bytes()[:-1000])


def stamped(message):
    header = struct.pack("<iI", 1_600_000_000, 0)
    return {"data": message.data[:4] + header + message.data[12:]}


def no_number(message):
    decoded = TYPESTORE.deserialize_cdr(message.data, message.msgtype)
    decoded.position = np.full(len(decoded.name), np.nan)
    return {"data": bytes(TYPESTORE.serialize_cdr(decoded, message.msgtype))}


def no_picture(message):
    decoded = TYPESTORE.deserialize_cdr(message.data, message.msgtype)
    decoded.data = np.zeros(0, np.uint8)
    return {"data": bytes(TYPESTORE.serialize_cdr(decoded, message.msgtype))}


def earlier(message):
    return {"receive_ns": message.receive_ns - 10**9}


PLANTED = {
    "B1": lambda bag: bag_file(bag).rename(bag / "other.mcap"),
    "B2": truncate,
    "B3": overwrite(20_000, b"\xff" * 4000),
    "B4": told(INFO_TOPIC, task=None),
    "B5": told(INFO_TOPIC, format=99),
    "B6": told(INFO_TOPIC, contract_sha256="0" * 64),
    "B7": told(OUTCOME_TOPIC, outcome=None),
    "B8": changed(LEFT, lambda _: {"msgtype": "sensor_msgs/msg/Joy"}),
    "B9": without("/right/arm/joint_states"),
    "B10": changed(LEFT, earlier, only=100),
    "B11": without(LEFT, keep=150),
    "B12": changed(LEFT, lambda message: {"data": message.data[:30]}, only=10),
    "B13": changed(LEFT, no_number, only=10),
    "B14": changed(LEFT, stamped),
    "B15": lambda bag: (bag / "metadata.yaml").write_text("rosbag2_bagfile_information: 7"),
    "B16": changed("/cameras/overhead/image_raw/compressed", no_picture, only=3),
}
"""Rule -> what breaks it."""


@pytest.fixture(scope="module")
def recorded(studio, tmp_path_factory):
    folder = tmp_path_factory.mktemp("sound")
    return studio.record(folder, studio.messages(), task="pick_place")


@pytest.fixture
def bag(recorded, tmp_path):
    return shutil.copytree(recorded, tmp_path / recorded.name)


def test_a_sound_bag_breaks_no_rule(recorded, bag):
    assert list(check_bag(recorded)) == []
    rewrite(bag, lambda messages: messages)
    assert list(check_bag(bag)) == []


@pytest.mark.parametrize("number", [n for n, rule in RULES.items() if rule.kind == "bag"])
def test_every_rule_of_a_bag_is_found_broken(bag, number):
    PLANTED[number](bag)
    found = list(check_bag(bag))
    assert number in {one.rule for one in found}, found
    assert all(one.file and one.value and one.bound and one.remedy for one in found)


@pytest.mark.parametrize(
    ("number", "change"),
    [
        ("B4", lambda messages: [*messages[:-1], *messages]),
        ("B7", lambda messages: [*messages, messages[-1]]),
        ("B7", lambda messages: [*messages, messages[-2]]),
    ],
    ids=["two episodes in one", "outcome twice", "more after the outcome"],
)
def test_a_bag_holds_one_episode_from_its_first_message_to_its_last(bag, number, change):
    rewrite(bag, change)
    assert number in {one.rule for one in check_bag(bag)}


@pytest.mark.parametrize("number", ["B2", "B3", "B15", "renamed"])
def test_repair_helps_where_a_rule_says_so(bag, number):
    if number == "renamed":
        file = bag_file(bag)
        bag = bag.rename(bag.with_name("episode_000077"))
        (bag / file.name).rename(bag / "episode_000077_0.mcap")
    else:
        PLANTED[number](bag)
    found = list(check_bag(bag))
    assert found and all("ate repair --bag" in one.remedy for one in found), found
    assert repair(RepairConfig(bag=bag)) == 0
    left = {one.rule for one in check_bag(bag)}  # more where messages were lost
    assert not left & {one.rule for one in found}


def test_a_step_of_the_clock_that_is_marked_is_no_fault(bag):
    from ate_core.streams import CLOCK_TOPIC

    PLANTED["B14"](bag)
    mark = {"bag_ns": 0, "step_ns": -(10**17)}
    changed(CLOCK_TOPIC, lambda _: {"data": encode_text(json.dumps(mark))}, only=0)(bag)
    assert "B14" not in {one.rule for one in check_bag(bag)}


@settings(
    max_examples=25, deadline=None, derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)  # fmt: skip
@given(place=st.floats(0.0, 1.0), data=st.binary(min_size=1, max_size=64), cut=st.booleans())
def test_no_bytes_of_a_bag_end_in_a_traceback(recorded, tmp_path, place, data, cut):
    bag = tmp_path / recorded.name
    if not bag.exists():
        shutil.copytree(recorded, bag)
    content = bytearray(bag_file(recorded).read_bytes())
    start = int(place * len(content))
    content[start : start + len(data)] = data
    bag_file(bag).write_bytes(content[:start] if cut else content)
    (checked,) = check_all((bag,), InProcess())
    assert "X2" not in {one.rule for one in checked.violations}, checked.violations
    assert checked.violations or not cut


def test_the_command_names_each_kind_and_ends_with_the_worst(recorded, bag, tmp_path, capsys):
    assert validate(ValidateConfig(paths=(recorded,))) == 0
    assert "sound" in capsys.readouterr().out
    (tmp_path / "notes.txt").write_text("x")
    truncate(bag)
    assert validate(ValidateConfig(paths=(tmp_path, tmp_path / "notes.txt"), json=True)) == 1
    one, other = json.loads(capsys.readouterr().out)
    assert (one["kind"], one["violations"][0]["rule"]) == ("bag", "B2")
    assert "ate repair" in one["violations"][0]["remedy"]
    assert (other["kind"], other["violations"][0]["rule"]) == ("unknown", "X1")


def test_the_page_is_written_from_the_rules():
    assert PAGE.read_text() == page(), "run python -m training.validate.page"
    assert all(PLANTED.get(n) for n, rule in RULES.items() if rule.kind == "bag")


def first_of(topic):
    """All messages of a topic with the stamp of the first."""
    head: list[bytes] = []

    def change(message):
        head.append(message.data[4:12])
        return {"data": message.data[:4] + head[0] + message.data[12:]}

    return changed(topic, change)


def reorder(bag):
    def apply(messages):
        inner = messages[1:-1]
        return [messages[0], *inner[::-1], messages[-1]]

    rewrite(bag, apply)


BAD_BAGS = {
    "truncated": truncate,
    "no byte": lambda bag: bag_file(bag).write_bytes(b""),
    "rotten": PLANTED["B3"],
    "another type": PLANTED["B8"],
    "a topic missing": PLANTED["B9"],
    "clock stepped": PLANTED["B14"],
    "one stamp for all": first_of(LEFT),
    "no numbers": PLANTED["B13"],
    "empty pictures": changed("/cameras/overhead/image_raw/compressed", no_picture),
    "no outcome": without(OUTCOME_TOPIC),
    "changed contract": PLANTED["B6"],
    "strange info": changed(INFO_TOPIC, lambda _: {"data": encode_text("[1, 2]")}),
    "only info": lambda bag: rewrite(bag, lambda messages: messages[:1]),
}
"""Bag -> what was done to it."""


def test_bad_bags_are_rejected_with_a_reason_and_the_sound_ones_go_on(recorded, tmp_path):
    bags = tmp_path / "bags"
    for number, (_, spoil) in enumerate([("sound", lambda bag: None), *BAD_BAGS.items()]):
        bag = bags / f"episode_{number:06d}"
        shutil.copytree(recorded, bag)
        bag_file_of = bag / f"{recorded.name}_0.mcap"
        bag_file_of.rename(bag / f"{bag.name}_0.mcap")
        text = (bag / "metadata.yaml").read_text()
        (bag / "metadata.yaml").write_text(text.replace(recorded.name, bag.name))
        spoil(bag)
    config = ConvertConfig(bags=bags, output=tmp_path / "data")
    reports = {folder.name: convert_episode(folder, config) for folder in sorted(bags.iterdir())}
    results = dict(zip(["sound", *BAD_BAGS], reports.values(), strict=True))
    assert results.pop("sound").result == "converted"
    accepted = [name for name, one in results.items() if one.result != "rejected"]
    assert not accepted, accepted
    assert all(len(one.reason) > 10 for one in results.values())
    checked = check_all((bags,), InProcess())
    verdicts = dict(zip(["sound", *BAD_BAGS], checked, strict=True))
    assert not verdicts.pop("sound").violations
    silent = {name for name, one in verdicts.items() if not one.violations}
    assert silent <= {"one stamp for all"}, silent  # stamps may repeat; the age refuses it
    assert not {v.rule for one in verdicts.values() for v in one.violations} & {"X1", "X2"}


def test_messages_in_another_order_are_told(bag):
    reorder(bag)
    assert "B10" in {one.rule for one in check_bag(bag)}
