"""The one console command. Each verb is a function of the package that it belongs to."""

import difflib
import importlib
import io
import os
import select
import signal
import sys
import traceback
import typing
from collections.abc import Callable
from typing import Any

from ate_bringup.launch_command import launch
from ate_core.disk_refusals import remedy
from ate_core.errors import AteError, NoCellError

VERBS = {
    "demo": ("ate_bringup.demo:demo", "run the whole loop on the simulated cell"),
    "doctor": ("ate_bringup.doctor.command:doctor", "what would keep a cell from working"),
    "emulate": ("ate_bringup.emulate:emulate", "one emulated device alone"),
    "launch": ("", "start a launch where `ros2 launch` is not installed"),
    "status": ("ate_bringup.status_command:status", "one look at a running cell"),
    "episode": ("ate_recorder.episode_command:episode", "start, stop, judge and find episodes"),
    "cockpit": ("ate_cockpit.command:cockpit", "the page of a running cell"),
    "teleop-keys": (
        "ate_sim.people.teleop_keys:teleop_keys",
        "move the arms of the simulated cell with keys",
    ),
    "teleop-replay": (
        "ate_teleop.replay_command:teleop_replay",
        "play recorded hands through the cell and compare the arms' ways",
    ),
    "replay": (
        "ate_teleop.episode_replay.command:replay",
        "play a recorded episode on a running cell",
    ),
    "teleop-calibrate": (
        "ate_teleop.calibrate_command:teleop_calibrate",
        "fit an operator's facing and hand by a gesture",
    ),
    "stop": ("cell_monitor.stop_command:stop", "emergency stop of the cell; --reset ends it"),
    "convert": ("training.convert_bags:convert", "bags -> HDF5 episodes on 20 Hz ticks"),
    "mapping": (
        "training.propose_mapping:propose_mapping",
        "propose whose columns of other robots' recordings are which",
    ),
    "import": (
        "training.import_recordings:import_recordings",
        "LeRobot, ALOHA, RDT recordings -> HDF5 episodes",
    ),
    "audit": ("training.audit.command:audit", "judge recorded or converted episodes by rules"),
    "export": ("training.export.command:export", "episodes -> LeRobot, ACT, RDT or RoboTwin"),
    "repair": ("training.repair:repair", "recover the whole part of a truncated bag"),
    "episodes": (
        "training.episodes.command:episodes",
        "edit a folder of episodes; every change can be undone",
    ),
    "validate": (
        "training.validate.command:validate",
        "bags, HDF5 files and LeRobot sets against their specification",
    ),
    "train-vae": ("training.train_vae:train_vae", "action VAE, stage 1 or stage 2"),
    "train-tokens": (
        "training.train_tokens:train_tokens",
        "chunks of one arm as a few codes, and back (CLAP)",
    ),
    "token-report": (
        "training.token_report:token_report",
        "rate and error of action tokens beside classical coders",
    ),
    "align-video": (
        "training.align_video:align_video",
        "video without actions, aligned with action tokens (CLAP)",
    ),
    "label-video": (
        "training.label_video:label_video",
        "codes of motion beside clips without actions",
    ),
    "latent-report": ("training.latent_report:latent_report", "look into an action VAE's latent"),
    "finetune": ("training.finetune:finetune", "train a policy, plain or with latent guidance"),
    "import-pi0": ("training.import_pi0:import_pi0", "weights of lerobot or openpi -> checkpoint"),
    "export-pi0": ("training.import_pi0:export_pi0", "checkpoint -> weights with lerobot's names"),
    "import-rdt": ("training.import_rdt:import_rdt", "published weights of RDT-1B -> checkpoint"),
    "import-dp": (
        "training.import_dp:import_dp",
        "weights of the published Diffusion Policy -> checkpoint",
    ),
    "import-vae": (
        "training.import_vae:import_vae",
        "a published stage-1 action VAE -> checkpoint",
    ),
    "evaluate": ("training.evaluate:evaluate", "seeded rollouts, paired over checkpoints"),
    "score": ("training.score:score", "blinded rollouts on the real cell, scored by one key"),
    "benchmark": (
        "ate_policy.benchmark:benchmark",
        "time a policy stage by stage, and the loop beside it",
    ),
    "models": ("training.models:models", "the checkpoints there are, and how they did"),
    "serve": (
        "ate_policy.remote.serve_command:serve",
        "a policy for robots on other machines, over websocket",
    ),
    "study": ("training.study:study", "plain against guided, over tasks and seeds"),
    "rollouts": ("training.rollouts:rollouts", "how many rollouts a question needs"),
    "report": ("training.report:report", "one self-contained HTML report of a run"),
}
"""Verb -> (module:function, what it does). The function takes one config dataclass."""

EXIT_USAGE = 2
EXIT_NO_CELL = 3
EXIT_INTERRUPTED = 130
EXIT_PIPE = 141
"""As shells have it: who read the output has gone."""


def main(words: list[str] | None = None) -> int:
    """Run one verb; errors of the stack become one line and a non-zero exit code."""
    try:
        try:
            return _main(words)
        finally:
            sys.stdout.flush()  # here, where it may fail: the interpreter would tell it at its end
    except BrokenPipeError:
        if not _reader_left():
            raise
        return EXIT_PIPE


def _main(words: list[str] | None) -> int:
    words = list(sys.argv[1:] if words is None else words)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # names of files need not be text
    debug = "--debug" in words
    words = [word for word in words if word != "--debug"]
    if not words or words[0] in ("-h", "--help"):
        _print_help()
        return 0
    verb, *rest = words
    if verb not in VERBS:
        close = difflib.get_close_matches(verb, VERBS, n=1)
        hint = f"did you mean `ate {close[0]}`?" if close else "see `ate --help`"
        print(f"error: there is no `ate {verb}`; {hint}", file=sys.stderr)
        return EXIT_USAGE
    signal.signal(signal.SIGTERM, _interrupt)
    if signal.getsignal(signal.SIGINT) != signal.SIG_IGN:
        signal.signal(signal.SIGINT, _interrupt)
    try:
        return launch(rest) if verb == "launch" else _run(verb, rest)
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        return 0 if verb == "launch" else EXIT_INTERRUPTED  # there it is how one stops
    except (AteError, ImportError, OSError) as error:
        if isinstance(error, BrokenPipeError) and _reader_left():
            return EXIT_PIPE
        if debug:
            traceback.print_exc()
        else:
            print(f"error: {_one_line(error)}", file=sys.stderr)
        return EXIT_NO_CELL if isinstance(error, NoCellError) else 1


def _reader_left() -> bool:
    """Whether who read the output has gone, as `| head` does; the rest is then thrown away."""
    output = sys.stdout.fileno()
    asked = select.poll()
    asked.register(output, 0)
    if not any(event & (select.POLLERR | select.POLLHUP) for _, event in asked.poll(0)):
        return False
    os.dup2(os.open(os.devnull, os.O_WRONLY), output)
    return True


def _interrupt(*_: object) -> None:
    """SIGTERM stops a command as Ctrl-C does, with the same clean-up."""
    raise KeyboardInterrupt


def _run(verb: str, words: list[str]) -> int:
    import tyro

    function = _load(VERBS[verb][0])
    hints = typing.get_type_hints(function, include_extras=True)
    config_type = next(hint for name, hint in hints.items() if name != "return")
    config = tyro.cli(
        config_type,
        args=words,
        prog=f"ate {verb}",
        config=(tyro.conf.CascadeSubcommandArgs,),  # options may stand behind any choice
    )
    return int(function(config))


def _load(target: str) -> Callable[[Any], int]:
    module, _, name = target.partition(":")
    return getattr(importlib.import_module(module), name)  # type: ignore[no-any-return]


def _one_line(error: Exception) -> str:
    text = " ".join(str(error).split())
    if isinstance(error, ImportError):
        return f"{text}: install the stack with `make setup`"
    if isinstance(error, OSError) and error.filename is not None:
        return f"{error.filename}: {error.strerror}; {remedy(error)}"
    return text


def _print_help() -> None:
    print(
        "usage: ate VERB [options]    (ate VERB --help explains each; --debug shows tracebacks)\n"
    )
    for verb, (_, description) in VERBS.items():
        print(f"  {verb:13} {description}")


if __name__ == "__main__":
    sys.exit(main())
