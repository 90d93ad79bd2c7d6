"""A simulated cell of its own for each test: addresses, ports and runtime folder."""

import pytest

from benchmarks.live_cell import LaunchedCell, write_cell


@pytest.fixture
def launch_cell(tmp_path, runtime_dir):
    """Starts a launch on a cell of its own and leaves nothing behind."""
    cells: list[LaunchedCell] = []

    def launch(*words: str) -> LaunchedCell:
        cell_file = write_cell(tmp_path, len(cells))
        cells.append(LaunchedCell(tmp_path, cell_file, list(words)))
        return cells[-1]

    yield launch
    for cell in cells:
        if cell.process.poll() is None:
            print(cell.log()[-6000:])
        cell.kill()


@pytest.fixture
def cell_file(tmp_path, runtime_dir):
    """A cell file with addresses of its own."""
    return write_cell(tmp_path, 50)
