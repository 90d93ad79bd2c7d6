"""Files that are no cell, or hardly: each is refused in one sentence, soon, whatever it holds."""

import re

import pytest

from ate_core.contract import cell_file_problems, packaged_cell
from ate_core.yaml_text import LARGEST_TEXT

BOMB = "\n".join(
    f"{key}: &{anchor} [{', '.join([inner] * 9)}]"
    for key, anchor, inner in zip(
        ("arms", "grippers", "cameras", "operators", "vectors", "rates", "topics", "name"),
        "abcdefgh",
        ("x", "*a", "*b", "*c", "*d", "*e", "*f", "*g"),
        strict=True,
    )
)
FILES = {
    "nothing": ("", "holds nothing; need a mapping"),
    "a list": ("- arms\n- grippers\n", "holds a list; need a mapping"),
    "no text": (b"name: \xff\xfe", "it is no text"),
    "tabs": ("name: a\narms:\n\tleft: {}\n", "is not valid YAML"),
    "a key twice": ("name: a\nname: b\n", "the key 'name' of line 1 is there again in line 2"),
    "brackets without end": ("name: " + "[" * 3000, "it is too deep"),
    "an endless file": ("x" * (LARGEST_TEXT + 1), "longer than"),
    "an endless number": ("tick_rate: " + "9" * 6000, "a value cannot be read"),
    "anchors within anchors": (BOMB, "need a text"),
    "merges within merges": (
        "a0: &a0 {k: 1}\n"
        + "".join(f"a{n}: &a{n} {{<<: [{', '.join([f'*a{n - 1}'] * 9)}]}}\n" for n in range(1, 9)),
        "a mapping has more than 10000 entries",
    ),
    "an anchor within itself": ("name: &a [*a]\n", "need a text"),
    "a word that runs a program": (
        "name: !!python/object/apply:os.abort []\n",
        "could not determine",
    ),
}
ENTRIES = {
    "name: ate_cell\n": [
        ("name: no\n", "name is False; need a text, in quotes"),
        ('name: ""\n', "name is ''; need 1 to 64 printable characters"),
        ('name: "a\\nREADY"\n', "printable characters"),
    ],
    "tick_rate: 20.0": [
        (f"tick_rate: {'9' * 400}", "need a finite number"),
        ("tick_rate: 20 Hz", "tick_rate is '20 Hz'; need a number: YAML reads this as a text"),
        ("tick_rate: 024", "YAML reads 024 as 20: write that, or quotes for a text"),
        ("tick_rate: 0:20.0", "YAML reads 0:20.0 as 20.0: write that"),
        ("tick_rate: 2_0", "YAML reads 2_0 as 20"),
        ("tick_rate: 0b10100", "YAML reads 0b10100 as 20"),
        ("tickrate: 20.0", "unknown key 'tickrate'; .*; did you mean tick_rate[?]"),
    ],
    "command_timeout: 0.1": [
        ("Command-Timeout: 0.1", "did you mean command_timeout[?]"),
        ("comand_timeout: 0.1", "did you mean command_timeout[?]"),
        ("zebra: 0.1", "max_step, position_margin, stamp_max_age$"),
        ("yes: 0.1", "unknown key True"),
    ],
    'joycon_serial: "00:00:00:00:00:01"': [
        ("joycon_serial: 10:20:30:40:50:12", "YAML reads 10:20:30:40:50:12 as 8041827012: "),
    ],
    "joycon_side: left": [("joycon_side: Left", "need one of left, right; did you mean left[?]")],
}


def refusal(tmp_path, content):
    file = tmp_path / "cell.yaml"
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    (problem,) = cell_file_problems(str(file), "real")
    assert len(problem) < 1500 and "\n" not in problem
    return problem


@pytest.mark.parametrize("name", FILES)
def test_a_file_that_is_no_cell_is_refused_in_one_sentence(name, tmp_path):
    content, words = FILES[name]
    assert words in refusal(tmp_path, content)


@pytest.mark.parametrize("entry", ENTRIES)
def test_an_entry_of_the_wrong_kind_is_refused_with_what_was_meant(entry, tmp_path):
    text = packaged_cell().read_text()
    assert entry in text
    for wrong, words in ENTRIES[entry]:
        problem = refusal(tmp_path, text.replace(entry, wrong, 1))
        assert re.search(words, problem), problem


def test_a_device_file_without_end_is_no_cell():
    (problem,) = cell_file_problems("/dev/zero", "real")
    assert "longer than" in problem
