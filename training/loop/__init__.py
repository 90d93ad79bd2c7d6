"""One training run: loop, progress, processes, run folder."""
