"""The rules of every format as data: docs/specification.md is written from them.

Each check names its rule by number, and the tests plant a violation of each.
"""

from dataclasses import dataclass

KINDS = {
    "bag": "a recorded episode: a folder with one MCAP file",
    "hdf5": "a converted episode: one HDF5 file",
    "lerobot": "a LeRobot data set, v2.0 to v3.0: a folder with meta/info.json",
    "unknown": "none of these",
}
"""Kind -> what it is."""


@dataclass(frozen=True, kw_only=True)
class Rule:
    """One thing that must hold."""

    number: str
    """Letter of the kind and a number that is never given again."""
    kind: str
    """Entry of `KINDS`."""
    says: str
    """What must hold."""
    remedy: str
    """What helps where it does not."""


@dataclass(frozen=True, kw_only=True)
class Violation:
    """One place at which a rule does not hold."""

    file: str
    """File or folder."""
    rule: str
    """Number of the rule."""
    value: str
    """What was found."""
    bound: str
    """What must be."""
    remedy: str
    """What helps."""

    def __str__(self) -> str:
        """One line for people."""
        return f"{self.file}: {self.rule}: {self.value}; need {self.bound}: {self.remedy}"


_REPAIR = "run `ate repair --bag` with its folder"
_RECORD = "record it with this stack's recorder"
_ANEW = "record the episode anew"
_CONVERT = "convert its bag again"
_COPY = "copy the set again from where it was made"
_EXPORT = "export the set again"

_TABLE = (
    ("X1", "unknown", "A path is a bag, an HDF5 episode or a LeRobot set, or a folder of them.",
     "name the folder of a bag, an .hdf5 file, or the folder above meta/"),
    ("X2", "unknown", "A file can be read and checked to its end.",
     "check the path, its owner and the disk; if it opens elsewhere, tell us"),
    ("B1", "bag", "The folder holds one MCAP file that is named `<folder>_0.mcap`.",
     "give folder and file their names back"),
    ("B2", "bag", "The file begins and ends with the magic of MCAP: it was closed.", _REPAIR),
    ("B3", "bag", "Every chunk is whole and has its checksum.", _REPAIR),
    ("B4", "bag", "The first message, and no other, is on `/episode/info`, a JSON text "
     "with all its keys.",
     _RECORD),
    ("B5", "bag", "The format is one that this version reads.",
     "use the version of the stack that recorded it"),
    ("B6", "bag", "The contract is a valid cell with the hash that is stored beside it.",
     "take the bag from a copy: its contract was changed"),
    ("B7", "bag", "The last message, and no other, is on `/episode/outcome`, a JSON text "
     "with all its keys.",
     _REPAIR),
    ("B8", "bag", "Every topic of the contract has the message type that the contract wants.",
     "correct the node that publishes it and record anew"),
    ("B9", "bag", "Every stream that the episode required has messages.", _ANEW),
    ("B10", "bag", "Receive times never fall.", _ANEW),
    ("B11", "bag", "The counts in `/episode/outcome` are those of the bag.",
     "take the bag from a copy, or record the episode anew: messages were taken out"),
    ("B12", "bag", "Every message decodes as its type and names the joints of the contract.",
     "correct the node that publishes it and record anew"),
    ("B13", "bag", "Joints, openings, wrenches and poses are finite numbers.", _ANEW),
    ("B14", "bag", "A header stamp lies within 2 s of its receive time, unless a step of the "
     "clock is marked.", "let the machines keep one time (chrony) and record anew"),
    ("B15", "bag", "The metadata of rosbag2 name the file and its number of messages.", _REPAIR),
    ("B16", "bag", "Every image begins and ends as a JPEG.",
     "look at the camera and its cable, and record anew"),
    ("H1", "hdf5", "The file opens as HDF5.", _CONVERT),
    ("H2", "hdf5", "The datasets qpos, qvel, wrench, action and timestamps are there.", _CONVERT),
    ("H3", "hdf5", "All attributes of the root are there.", _CONVERT),
    ("H4", "hdf5", "The format is one that this version reads.",
     "use the version of the stack that converted it"),
    ("H5", "hdf5", "The contract is a valid cell; its hash and the layout's are its own.",
     _CONVERT),
    ("H6", "hdf5", "Shapes are those of the contract, with one row per tick.", _CONVERT),
    ("H7", "hdf5", "Vectors are float32, ticks int64, images byte strings.", _CONVERT),
    ("H8", "hdf5", "Every chunk has its checksum: all of the file can be read.", _CONVERT),
    ("H9", "hdf5", "All values are finite numbers.", _CONVERT),
    ("H10", "hdf5", "Ticks follow each other by one period of the tick rate.", _CONVERT),
    ("H11", "hdf5", "Every image begins and ends as a JPEG.",
     "audit its bag: the camera sent something else"),
    ("H12", "hdf5", "Measured joints lie within 0.1 rad of their limits, openings within 0.05 of "
     "0 to 1.", "audit its bag: no arm stands there"),
    ("H13", "hdf5", "Ages are seconds, or NaN where there was no sample, one per tick.", _CONVERT),
    ("H14", "hdf5", "There is one name for each object.", _CONVERT),
    ("H15", "hdf5", "Who commands is 0 (nobody), 1 (operator) or 2 (policy), per tick and arm.",
     _CONVERT),
    ("L1", "lerobot", "`meta/info.json` is JSON with version, rate, counts, paths and features.",
     _COPY),
    ("L2", "lerobot", "The version is v2.0, v2.1 or v3.0.", "convert it with the lerobot package"),
    ("L3", "lerobot", "Features have a type and a shape; `action` is one of them.", _EXPORT),
    ("L4", "lerobot", "The tables of episodes and of tasks are there and can be read.", _COPY),
    ("L5", "lerobot", "Every data file that the episodes name is there and can be read.", _COPY),
    ("L6", "lerobot", "Data files have a column for each feature that is no video.", _EXPORT),
    ("L7", "lerobot", "Rows have the width of their feature and finite numbers.", _EXPORT),
    ("L8", "lerobot", "Counts of episodes and frames agree with the tables.", _COPY),
    ("L9", "lerobot", "In each episode `frame_index` counts from 0 and `timestamp` is "
     "`frame_index / fps`, within 1 ms.", _EXPORT),
    ("L10", "lerobot", "Every `task_index` is one of the tasks.", _EXPORT),
    ("L11", "lerobot", "Every video that the episodes name is there, opens and is long enough.",
     _COPY),
    ("L12", "lerobot", "`meta/stats.json` (v3.0) has finite statistics of the width of `action`.",
     "export the set again, or compute its statistics"),
)  # fmt: skip

RULES = {
    number: Rule(number=number, kind=kind, says=says, remedy=remedy)
    for number, kind, says, remedy in _TABLE
}
"""All rules by number, in the order in which they are looked at."""


def broken(file: object, number: str, value: object, bound: object) -> Violation:
    """A violation of a rule.

    Args:
        file: file or folder.
        number: of the rule.
        value: what was found.
        bound: what must be.
    """
    return Violation(
        file=str(file),
        rule=number,
        value=" ".join(str(value).split())[:300],
        bound=str(bound),
        remedy=RULES[number].remedy,
    )


def table(kind: str) -> str:
    """The rules of a kind as a Markdown table."""
    rows = [
        f"| {rule.number} | {rule.says} | {rule.remedy} |"
        for rule in RULES.values()
        if rule.kind == kind
    ]
    return "\n".join(["| Rule | What must hold | Where it does not |", "|---|---|---|", *rows])
