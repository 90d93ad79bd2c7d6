"""C libraries that go before the system's, in a command and its children."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def preloaded(source: Path) -> Iterator[Mapping[str, str]]:
    """What the environment of a command needs for it, while the context lasts.

    Args:
        source: C file of the library; it is named after it.

    Raises:
        FileNotFoundError: no C compiler.
    """
    if shutil.which("cc") is None:
        raise FileNotFoundError("no C compiler (cc): install one, e.g. apt install gcc")
    with tempfile.TemporaryDirectory(prefix="ate-preload-") as folder:
        library = Path(folder) / f"{source.stem}.so"
        subprocess.run(
            ["cc", "-O2", "-shared", "-fPIC", "-o", library, source, "-ldl"], check=True
        )
        others = os.environ.get("LD_PRELOAD", "")
        yield {"LD_PRELOAD": f"{library}:{others}".rstrip(":")}
