"""The command line as a shell meets it."""

import os
import subprocess
import sys

import pytest

from ate_bringup.cli import EXIT_PIPE


@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize(
    "words", [["--help"], ["models", "--help"], ["doctor", "--json"]], ids=" ".join
)
def test_a_reader_that_leaves_ends_a_command_without_a_word(words, unbuffered):
    output, written = os.pipe()
    os.close(output)  # as `| head` does, sooner
    environment = {**os.environ, "PYTHONUNBUFFERED": unbuffered}
    command = [sys.executable, "-m", "ate_bringup.cli", *words]
    try:
        done = subprocess.run(
            command,
            stdout=written,
            stderr=subprocess.PIPE,
            text=True,
            env=environment,
            timeout=60.0,
            check=False,
        )
    finally:
        os.close(written)
    assert (done.returncode, done.stderr) == (EXIT_PIPE, "")
