"""Writes docs/specification.md from the rules: `python -m training.validate.page`."""

from pathlib import Path

from training.validate.specification import KINDS, table

PAGE = Path(__file__).parents[2] / "docs" / "specification.md"
HEAD = """# Specification of recorded data

What must hold of every bag, HDF5 file and LeRobot set, rule by rule. What each entry means stands
in [episode_format.md](episode_format.md). Written by `python -m training.validate.page` from
`training/validate/specification.py`; a test compares it, and for every rule a test breaks it and
sees it found.

`ate validate` says which kind a path is and prints every place where a rule does not hold: the
file, the rule, what was found, what must be, and what helps. `--json` prints the same for
programs. The exit code is 1 where there is one. Nothing is changed, and no bytes, whatever they
are, end it: each path is looked at in a process of its own.

<!-- not run: needs data -->
```bash
ate validate bags data lerobot_set
```

A number is never given to another rule. Where a rule does not hold, those that need it are not
looked at: a truncated bag (B2) says nothing about its messages.
"""


def page() -> str:
    """The whole page."""
    parts = [HEAD]
    for kind, what in KINDS.items():
        title = "Paths" if kind == "unknown" else what[0].upper() + what[1:]
        parts.append(f"\n## {title}\n\n{table(kind)}\n")
    return "".join(parts)


if __name__ == "__main__":
    PAGE.write_text(page())
