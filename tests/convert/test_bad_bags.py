"""Every kind of bad recording, given to every command that takes bags beside a sound one.

Each is rejected or flagged by name, in words; the sound one is converted all the same, and what
lies in the folders of the bad ones is still there afterwards.
"""

import contextlib
import dataclasses
import io
import json
import shutil
import struct
from pathlib import Path

import numpy as np
import pytest

from ate_bringup.cli import main
from ate_core.streams import CLOCK_TOPIC, INFO_TOPIC, OUTCOME_TOPIC
from ate_recorder.bag_writer import TYPESTORE, encode_text
from benchmarks.rewritten_bag import rewrite_bag
from training.data.bag_reader import bag_file, read_episode_bag
from training.data.episode_file import list_episodes, read_episode
from training.repair import recover_messages
from training.tasks import choose
from training.tasks.in_process import InProcess

LEFT, RIGHT = "/left/arm/joint_states", "/right/arm/joint_states"
COMMAND, GRIPPER = "/left/arm/joint_command", "/left/gripper/joint_states"
CAMERA = "/cameras/overhead/image_raw/compressed"


def all_of(change):
    """A change of the list of all messages."""
    return lambda bag: rewrite_bag(bag, change(list(recover_messages(bag_file(bag)))))


def each(topic, change):
    """A change of each message on a topic (or of those a function chooses); None drops one.

    The function is given the message, its number among them, and their count.
    """
    is_meant = topic if callable(topic) else lambda message: message.topic == topic

    def apply(messages):
        own = [index for index, message in enumerate(messages) if is_meant(message)]
        for number, index in enumerate(own):
            fields = change(messages[index], number, len(own))
            messages[index] = fields and dataclasses.replace(messages[index], **fields)
        return [message for message in messages if message]

    return all_of(apply)


def without(topic):
    return each(topic, lambda *_: None)


def same(message):
    return {"data": message.data}


def rebuilt(message, **fields):
    """The message with other fields."""
    decoded = TYPESTORE.deserialize_cdr(message.data, message.msgtype)
    new = {name: value(getattr(decoded, name)) for name, value in fields.items()}
    changed = dataclasses.replace(decoded, **new)
    return {"data": bytes(TYPESTORE.serialize_cdr(changed, message.msgtype))}


def number(field, value, at=10):
    """One message (or all, where ``at`` is None) with another number in each place."""

    def change(message, index, _):
        if at is not None and index != at:
            return same(message)
        return rebuilt(message, **{field: lambda old: np.asarray(value(old), float)})

    return change


def picture(change):
    def apply(message, *_):
        return rebuilt(message, data=lambda old: np.frombuffer(change(bytes(old)), np.uint8))

    return apply


def stamped(shift_s, of=lambda index, count: index > count // 2):
    """Stamps moved by a clock that was set, in the second half."""

    def change(message, index, count):
        seconds, nanoseconds = struct.unpack_from("<iI", message.data, 4)
        shift_ns = round(shift_s * 1e9) if of(index, count) else 0
        total = max(0, seconds * 10**9 + nanoseconds + shift_ns)
        return {
            "data": message.data[:4]
            + struct.pack("<iI", *divmod(total, 10**9))
            + message.data[12:]
        }

    return change


def frozen(message, index, count, _known={}):  # noqa: B006 the first message of each topic
    """The first message's content under the stamps of all."""
    if index == 0:
        _known[message.topic] = message.data
    first = _known[message.topic]
    return {"data": first[:4] + message.data[4:12] + first[12:]}


def told(topic, change):
    """The text of a topic with another content."""

    def apply(message, *_):
        text = TYPESTORE.deserialize_cdr(message.data, message.msgtype).data
        return {"data": encode_text(change(json.loads(text)))}

    return each(topic, apply)


def entry(**fields):
    return lambda document: json.dumps(document | fields)


def truncate(bag):
    data = bag_file(bag).read_bytes()
    bag_file(bag).write_bytes(data[: int(0.7 * len(data))])


def rot(bag):
    data = bytearray(bag_file(bag).read_bytes())
    middle = len(data) // 2
    data[middle : middle + 4000] = np.random.default_rng(0).bytes(4000)
    bag_file(bag).write_bytes(data)


def holds(data):
    return lambda bag: bag_file(bag).write_bytes(data)


def into_folder(bag):
    file = bag_file(bag)
    file.unlink()
    file.mkdir()


def host_clock_is_set(messages):
    """Without a mark, as a recorder that trusts its wall clock would have it."""
    middle = messages[len(messages) // 2].receive_ns
    back = stamped(-3600.0, of=lambda *_: True)
    return [
        dataclasses.replace(m, receive_ns=m.receive_ns - 3600 * 10**9, **back(m, 0, 1))
        if m.receive_ns > middle and "String" not in m.msgtype
        else m
        for m in messages
    ]


def at_once(messages):
    return [dataclasses.replace(m, receive_ns=messages[0].receive_ns) for m in messages]


def shuffle(messages):
    first, *body, last = messages
    order = np.random.default_rng(0).permutation(len(body))
    return [first, *(body[index] for index in order), last]


def is_arm(message):
    return message.topic in (LEFT, RIGHT)


def is_right(message):
    return message.topic.startswith("/right/")


def of_type(msgtype):
    return lambda *_: {"msgtype": msgtype}


def renamed(word):
    """Joints that are called so, and numbered."""

    def change(message, *_):
        return rebuilt(message, name=lambda names: [word.format(n) for n in range(len(names))])

    return change


REJECTED = {
    "truncated": (truncate, "ate repair --bag"),
    "rotten": (rot, "ate repair --bag"),
    "empty file": (holds(b""), "truncated"),
    "no MCAP": (holds(b"hello world\n" * 99), "is no MCAP file"),
    "folder in place of the file": (into_folder, "it is not a recorded episode"),
    "no message": (all_of(lambda _: []), "no message at all"),
    "backwards": (all_of(lambda messages: messages[::-1]), "the first message is on"),
    "state of another type": (each(LEFT, of_type("sensor_msgs/msg/Joy")), "has type"),
    "camera of an unknown type": (each(CAMERA, of_type("my_msgs/msg/Foo")), "has type"),
    "info of another type": (each(INFO_TOPIC, of_type("sensor_msgs/msg/Joy")), "has type"),
    "state missing": (without(LEFT), "missing_stream: no message on /left/arm/joint_states"),
    "camera missing": (without(CAMERA), "missing_stream: no message on /cameras/overhead"),
    "commands missing": (without(lambda m: "joint_command" in m.topic), "no_command"),
    "only one arm": (without(is_right), "missing_stream: no message on /right/arm"),
    "info missing": (without(INFO_TOPIC), "ate_recorder did not write this bag"),
    "outcome missing": (without(OUTCOME_TOPIC), "it was never closed; run 'ate repair"),
    "unknown stream required": (
        told(INFO_TOPIC, lambda d: json.dumps(d | {"required": [*d["required"], "tail_state"]})),
        "no stream tail_state",
    ),
    "host clock set": (all_of(host_clock_is_set), "s before the start of the episode"),
    "device clock set back by hours": (each(LEFT, stamped(-3600.0)), "before their receipt"),
    "device clock set forth": (each(LEFT, stamped(0.15)), "150 ms after their receipt"),
    "one stamp of another year": (
        each(LEFT, stamped(1e8, of=lambda index, _: index == 9)),
        "1 of 130 messages of /left/arm/joint_states are stamped",
    ),
    "no stamps": (each(LEFT, stamped(-2e9, of=lambda *_: True)), "s before its receipt"),
    "no time at all": (all_of(at_once), "after their receipt"),
    "pictures empty": (each(CAMERA, picture(lambda _: b"")), "it is empty"),
    "pictures cut": (each(CAMERA, picture(lambda d: d[: len(d) // 2])), "breaks off"),
    "pictures of another format": (
        each(CAMERA, picture(lambda d: b"\x89PNG\r\n\x1a\n" + d[8:])),
        "it is a PNG",
    ),
    "pictures of another size": (
        each(CAMERA, picture(lambda d: d[:7] + struct.pack(">HH", 240, 320) + d[11:])),
        "320x240 pixels, the contract says",
    ),
    "pictures grey": (
        each(CAMERA, picture(lambda d: d[:11] + b"\1" + d[12:])),
        "grey, as an infrared stream's",
    ),
    "pictures of four inks": (
        each(CAMERA, picture(lambda d: d[:11] + b"\4" + d[12:])),
        "of 4 components",
    ),
    "state NaN": (each(LEFT, number("position", lambda v: v * np.nan)), "not_finite"),
    "speed beyond float32": (each(LEFT, number("velocity", lambda v: v + 1e39)), "not_finite"),
    "command infinite": (each(COMMAND, number("position", lambda v: v - np.inf)), "not_finite"),
    "states in degrees": (
        each(is_arm, number("position", np.degrees, at=None)),
        "fits its limits in degrees",
    ),
    "opening in millimetres": (
        each(GRIPPER, number("position", lambda v: 50 * v, at=None)),
        "gripper_range",
    ),
    "joints frozen": (each(LEFT, frozen), "frozen_joints"),
    "camera frozen": (each(CAMERA, frozen), "frozen_camera"),
    "foreign joint names": (each(LEFT, renamed("iiwa_{}")), "names the joints ['iiwa_0'"),
    "names in the marks of a terminal": (
        each(LEFT, renamed("[/left]:x:{}")),
        "names the joints ['[/left]:x:0'",
    ),
    "no speeds": (
        each(LEFT, lambda m, *_: rebuilt(m, velocity=lambda _: np.zeros(0))),
        "has 0 values in velocity",
    ),
    "message cut": (
        each(LEFT, lambda m, index, _: {"data": m.data[:30] if index == 9 else m.data}),
        "does not decode as sensor_msgs/msg/JointState",
    ),
    "two episodes in one": (
        all_of(lambda m: [*m[:-1], *m]),
        "a second message is on /episode/info",
    ),
    "two whole episodes": (all_of(lambda m: [*m, *m]), "a second message is on /episode/info"),
    "something behind the end": (
        all_of(lambda m: [*m, m[-2]]),
        "lies behind /episode/outcome, which ends an episode",
    ),
    "outcome twice": (all_of(lambda m: [*m, m[-1]]), "a second message is on /episode/outcome"),
    "info no object": (told(INFO_TOPIC, lambda _: "[1, 2]"), "need a JSON object"),
    "start no time": (told(INFO_TOPIC, entry(start_ns=None)), "need a whole number"),
    "outcome no object": (told(OUTCOME_TOPIC, lambda _: "7"), "need a JSON object"),
    "counts no object": (told(OUTCOME_TOPIC, entry(streams=7)), "need an object"),
    "mark of the clock without a time": (
        told(CLOCK_TOPIC, entry(bag_ns="soon", step_ns=1)),
        "need a whole number",
    ),
    "step of the clock beyond any time": (
        told(CLOCK_TOPIC, entry(step_ns=10**30)),
        "need a whole number",
    ),
    "task with half a mark": (told(INFO_TOPIC, entry(task="a\ud800")), "need a text"),
    "start without end": (
        told(INFO_TOPIC, lambda d: json.dumps(d | {"start_ns": "X"}).replace('"X"', "1e400")),
        "need a whole number",
    ),
    "received after all time": (
        each(LEFT, lambda m, index, _: {"receive_ns": 2**63 if index == 10 else m.receive_ns}),
        "a time in episode_",
    ),
    "info in the bytes of another machine": (
        each(INFO_TOPIC, lambda m, *_: {"data": b"\0\0" + m.data[2:]}),
        "does not decode as std_msgs/msg/String",
    ),
    "decision unreadable": (
        lambda bag: (bag / "outcome.json").write_bytes(b"\xff\xfe{"),
        "label the episode anew",
    ),
}
"""What is wrong -> how it is planted, and part of the converter's reason."""

FLAGGED = {
    "stamps doubled": (
        all_of(lambda messages: [m for m in messages for _ in range(1 + ("Image" in m.msgtype))]),
        "repeated_stamps",
    ),
    "device clock set back a little": (each(LEFT, stamped(-0.08)), "clock_step"),
    "clock of a camera set back": (each(CAMERA, stamped(-0.3)), "clock_step"),
    "wrench frozen": (each("/left/arm/wrench", frozen), "frozen_wrench"),
    "every third message taken out": (
        each(LEFT, lambda m, index, _: same(m) if index % 3 else None),
        "recorder_counts",
    ),
    "a message put in": (
        all_of(lambda m: [*m[:-1], *[one for one in m if one.topic == COMMAND][-1:], m[-1]]),
        "recorder_counts",
    ),
    "state ends a little early": (
        each(LEFT, lambda m, index, count: same(m) if index < count - 25 else None),
        "gaps",
    ),
}
"""What is wrong but can be converted -> how it is planted, and the rule of the audit."""

SOUND = {
    "shuffled": (all_of(shuffle), ""),
    "metadata without end": (
        lambda bag: (bag / "metadata.yaml").write_text("[" * 5000 + "]" * 5000),
        "",
    ),
}
"""What makes no difference: data is ordered by its stamps, and counted from the messages."""
KINDS = REJECTED | FLAGGED | SOUND
CUT = ("truncated", "rotten", "outcome missing", "metadata without end")
"""Bags of which a repair makes new ones."""
UNDECODABLE = (
    "state of another type", "camera of an unknown type", "message cut",
    "info in the bytes of another machine",
)  # fmt: skip
"""Bags that are whole though something in them cannot be read."""


def ate(*words):
    """Run a command; its exit code and what it said, line by line."""
    said = io.StringIO()
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        code = main([str(word) for word in words])
    return code, said.getvalue()


def as_episode(bag, name):
    """Copy a bag under another name."""
    copy = shutil.copytree(bag, bag.with_name(name))
    (copy / bag_file(bag).name).rename(copy / f"{name}_0.mcap")
    metadata = (copy / "metadata.yaml").read_text()
    (copy / "metadata.yaml").write_text(metadata.replace(bag.name, name))
    return copy


def content(folder: Path):
    return {path: path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


@dataclasses.dataclass
class Batch:
    """One folder with a bag of every kind, and what each command said of all of them."""

    folder: Path
    names: dict
    before: dict
    said: dict = dataclasses.field(default_factory=dict)
    codes: dict = dataclasses.field(default_factory=dict)

    def run(self, command, *words):
        self.codes[command], self.said[command] = ate(*words)


@pytest.fixture(scope="module")
def batch(studio, tmp_path_factory):
    folder = tmp_path_factory.mktemp("batch") / "bags"
    sound = studio.record(folder, studio.messages(seconds=1.3, seed=3), task="pick_place")
    names = {"sound": sound.name}
    for index, (what, (plant, _)) in enumerate(KINDS.items(), 1):
        names[what] = f"episode_{index:06d}"
        plant(as_episode(sound, names[what]))
    batch = Batch(folder=folder, names=names, before=content(folder))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("COLUMNS", "2000")
        patch.setattr(choose, "LocalProcesses", lambda *_: InProcess())
        batch.run("convert", "convert", "--bags", folder, "--output", folder.parent / "data")
        batch.run("audit", "audit", "--bags", folder, "--json")
        batch.run("validate", "validate", folder, "--json")
        batch.run("list", "episodes", "list", folder)
    (folder / "audit.json").unlink()
    return batch


def test_a_batch_of_bad_recordings_goes_on_to_its_end_and_changes_none(batch):
    assert batch.codes == {"convert": 1, "audit": 1, "validate": 1, "list": 0}
    assert content(batch.folder) == batch.before
    told = f"{1 + len(FLAGGED | SOUND)} converted, 0 up to date, {len(REJECTED)} rejected"
    assert told in batch.said["convert"]
    wanted = {batch.names[what] for what in ("sound", *FLAGGED, *SOUND)}
    assert {path.stem for path in list_episodes(batch.folder.parent / "data")} == wanted
    for said in batch.said.values():
        assert not any(word in said for word in ("Traceback", "unforeseen", "tell us"))


@pytest.mark.parametrize("what", REJECTED)
def test_a_bad_recording_is_rejected_by_name_with_its_reason(what, batch):
    (line,) = [
        line
        for line in batch.said["convert"].splitlines()
        if line.replace("│", " ").split()[:1] == [batch.names[what]]
    ]
    assert "rejected" in line and REJECTED[what][1] in line


@pytest.mark.parametrize("what", REJECTED)
def test_an_audit_refuses_what_is_not_converted(what, batch):
    audit = json.loads(batch.said["audit"])
    judged = [one["name"] for one in audit["episodes"] if "refuse" in one["verdicts"].values()]
    assert batch.names[what] in {*judged, *audit["unreadable"]}


@pytest.mark.parametrize("what", FLAGGED)
def test_what_can_be_converted_is_flagged_by_a_rule(what, batch):
    audit = json.loads(batch.said["audit"])
    verdicts = {one["name"]: one["verdicts"][FLAGGED[what][1]] for one in audit["episodes"]}
    assert verdicts[batch.names[what]] == "flag" != verdicts[batch.names["sound"]]


@pytest.mark.parametrize("what", KINDS)
def test_a_list_and_a_look_at_one_never_fail(what, batch):
    number = int(batch.names[what].removeprefix("episode_"))
    assert f"{number:6}  " in batch.said["list"]
    code, said = ate("episodes", "show", batch.folder, number)
    assert code == 0 or said.startswith("error: ")
    assert "()" not in said


@pytest.mark.parametrize("what", KINDS)
def test_a_repair_loses_nothing(what, batch, tmp_path):
    """Bytes with their checksum are what was published; what is cut is kept aside."""
    bag = shutil.copytree(batch.folder / batch.names[what], tmp_path / batch.names[what])
    before = [path.read_bytes() for path in content(bag)]
    code, said = ate("repair", "--bag", bag)
    assert code in (0, 1) and "Traceback" not in said
    kept = bag.with_name(f"{bag.name}.truncated")
    assert kept.exists() == (what in CUT)
    assert [path.read_bytes() for path in content(kept if what in CUT else bag)] == before
    if what in UNDECODABLE:
        assert code == 1 and "do not decode: correct the node that published them" in said
    if what == "outcome missing":
        assert "nothing was lost; marked as interrupted" in said
        assert read_episode_bag(bag).outcome["outcome"] == "interrupted"


def test_messages_in_another_order_give_the_same_episode(batch):
    data = batch.folder.parent / "data"
    mixed, straight = (
        read_episode(data / f"{batch.names[what]}.hdf5") for what in ("shuffled", "sound")
    )
    for name in ("state", "action", "velocity", "wrench", "timestamps_ns"):
        np.testing.assert_array_equal(getattr(mixed, name), getattr(straight, name))
    violations = {
        violation["rule"]
        for one in json.loads(batch.said["validate"])
        if one["path"].endswith(batch.names["shuffled"])
        for violation in one["violations"]
    }
    assert "B10" in violations
