"""Writes one bag per episode, and carries out what the session's state machine asks for.

Time is an argument everywhere [ns], that of a clock which never steps; what the wall clock says
beside it comes by ``see_clock``. ``receive`` and ``see_clock`` may be called from another thread
than the rest.
"""

from __future__ import annotations

import logging
import shutil
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from ate_core.contract import Cell
from ate_core.disk_refusals import remedy
from ate_core.episode_folders import decided_ns, is_judged, is_pending, number_of
from ate_core.episode_outcome import (
    DISCARDED,
    FAILURE,
    INTERRUPTED,
    PENDING,
    SUCCESS,
    check_label,
)
from ate_core.errors import EpisodeError
from ate_core.resample import NANOSECONDS
from ate_core.streams import StreamSpec
from ate_recorder.bag_writer import BagMovedError, BagWriter
from ate_recorder.counters import doubt_line, summary_line
from ate_recorder.disk import ROOMY, probe_speed
from ate_recorder.episode_writer import EpisodeWriter
from ate_recorder.folder_claim import FolderClaim
from ate_recorder.intake import Intake
from ate_recorder.pre_roll import PreRollRing
from ate_recorder.recorder_config import RecorderConfig
from ate_recorder.sample import Sample
from ate_recorder.session import STEPS, Act, Event, State
from ate_recorder.storage import Storage
from ate_recorder.stream_watch import StreamWatch

FORMAT = 2
"""Version of the bag's /episode/info and /episode/outcome."""
_LOG = logging.getLogger(__name__)


class EmptyEpisodeError(EpisodeError):
    """Nothing was done in an episode that was stopped: it was set aside."""


class EpisodeRecorder:
    """Writes one bag per episode.

    Args:
        cell: The cell, whose streams are recorded and whose text every bag carries.
        config: Where to and what beside.
        open_bag: Opens a bag; replaced in tests.
        free_bytes: Free bytes on the disk of a folder; replaced in tests.
        probe: Tries the speed of the disk of a folder [byte/s]; replaced in tests.
        claim: Keeps other recorders out of the folder; None: nobody does.
    """

    def __init__(
        self,
        cell: Cell,
        config: RecorderConfig,
        *,
        open_bag: Callable[[Path], BagWriter] = BagWriter,
        free_bytes: Callable[[Path], int] = lambda path: shutil.disk_usage(path).free,
        probe: Callable[[Path], float] = probe_speed,
        claim: FolderClaim | None = None,
    ) -> None:
        self.cell = cell
        self.config = config
        self._watch = StreamWatch(cell, images=config.require_images, silence=config.silence)
        self._storage = Storage(
            config, open_bag=open_bag, free_bytes=free_bytes, probe=probe, claim=claim
        )
        self._folders = self._storage.folders
        self.devices: Callable[[], Mapping[str, Any]] = dict
        """What the devices say of themselves, for the bag."""
        self._lock = threading.RLock()
        self._acts = {
            Act.CLOSE: self._close,
            Act.MARK: self._mark,
            Act.LABEL: self._label,
            Act.SET_ASIDE: self._set_aside,
            Act.OPEN: self._open,
        }
        self._intake = Intake(PreRollRing(config.ring_s, round(config.ring_mb * 1e6)))
        self._kept = self._discarded = 0
        self._past_s = 0.0
        if self._storage.trouble:
            _LOG.warning(self._storage.trouble)
        self._pending = self._folders.pending()
        self._own: Path | None = None
        self._next = config.output / "episode_unknown"
        self._message = (
            f"{self.present} waits to be kept or discarded" if self._pending else "ready"
        )

    @property
    def streams(self) -> Mapping[str, StreamSpec]:
        """Every stream, by topic."""
        return self._watch.specs

    @property
    def recording(self) -> bool:
        """Whether an episode is open."""
        return self._episode is not None

    @property
    def _episode(self) -> EpisodeWriter | None:
        return self._intake.episode

    @property
    def _comes(self) -> float:
        """What the streams bring; 0 where it is not known yet [byte/s]."""
        return self._intake.ring.bytes_per_second

    def required(self) -> list[StreamSpec]:
        """Return the streams without which no episode is started."""
        return self._watch.required()

    def describe(self, topic: str, *, reliable: bool, latched: bool, publishers: int) -> None:
        """Note how many publishers a topic has and what they offer, for the bag's metadata."""
        self._watch.describe(topic, reliable=reliable, latched=latched, publishers=publishers)

    def refuse(self, topic: str, reason: str) -> None:
        """Note why a publisher of a topic is not recorded; empty text where all of them are."""
        self._watch.refuse(topic, reason)

    def see_clock(self, now_ns: int, wall_ns: int) -> None:
        """Take a look at both clocks [ns]; a step of the wall clock is marked in the episode."""
        self._intake.see_clock(now_ns, wall_ns)

    def receive(self, sample: Sample) -> None:
        """Take one message."""
        self._watch.see(sample.spec.topic, sample.receive_ns)
        self._intake.receive(sample)

    def start(self, now_ns: int) -> str:
        """Open the next episode and return one line about it.

        Raises:
            EpisodeError: one is open or waits to be judged, a required stream is silent, or the
                disk is full.
        """
        return self._take(Event.START, now_ns)

    def stop(self, now_ns: int, label: str = "") -> str:
        """Close the open episode and return a one-line summary; it waits to be kept or discarded.

        Args:
            now_ns: Time [ns].
            label: Keep it at once with this label.

        Raises:
            EmptyEpisodeError: it is empty, and was set aside.
            EpisodeError: none is open, or the disk refuses.
        """
        with self._lock:
            lack = "" if self._episode is None else self._episode.lack()
            if lack:
                name = self.present
                self._take(Event.EMPTY, now_ns, f"empty: {lack}")
                self._message = f"{name} is empty and was set aside: {lack}"
                raise EmptyEpisodeError(self._message)
            line = self._take(Event.STOP, now_ns)
            return self.keep(now_ns, label) if label else line

    def keep(self, now_ns: int, label: str = SUCCESS, episode: object = None) -> str:
        """Keep the episode that waits, with a label; return one line about it.

        Args:
            now_ns: Time [ns].
            label: In words.
            episode: Number of the episode that is meant; None: whichever waits.

        Raises:
            EpisodeError: none waits, or another one, or the label is none.
        """
        label = check_label(label)
        with self._lock:
            waits = number_of(Path(self.present)) if self.state is State.PENDING else None
            if episode not in (None, waits):
                raise EpisodeError(
                    f"episode {episode} does not wait to be judged: it is recorded, or was judged "
                    "already; `ate episode label --episode` labels a closed one anew"
                )
            return self._take(Event.KEEP, now_ns, label)

    def fail(self, now_ns: int) -> str:
        """Keep the episode that waits as a failure; return one line about it."""
        return self.keep(now_ns, FAILURE)

    def discard(self, now_ns: int, reason: str = "discarded by the operator") -> str:
        """Set the episode aside that is open or waits; return a one-line summary."""
        return self._take(Event.DISCARD, now_ns, reason)

    def redo(self, now_ns: int) -> str:
        """Set the episode aside that is open or waits, if any, and start the next one."""
        return self._take(Event.REDO, now_ns, "redone")

    def save_last(self, now_ns: int) -> str:
        """Make an episode of the last seconds; it waits to be kept or discarded.

        Raises:
            EpisodeError: one is open or waits to be judged, nothing came, or the disk is full.
        """
        return self._take(Event.SAVE, now_ns)

    def interrupt(self, now_ns: int, reason: str) -> str | None:
        """Close an open episode whose recording cannot go on; None when none is open."""
        with self._lock:
            if self._episode is None:
                return None
            return self._take(Event.INTERRUPT, now_ns, reason)

    @property
    def state(self) -> State:
        """What the session is at."""
        if self._episode is not None:
            return State.RECORDING
        if self._pending is not None and is_judged(self._pending):
            self._pending = self._folders.pending()  # judged by somebody else
        return State.IDLE if self._pending is None else State.PENDING

    @property
    def present(self) -> str:
        """Name of the episode that is open or waits, else of the next one."""
        if self._episode is not None:
            return self._episode.folder.name
        if self._pending is None:
            with suppress(OSError):  # a disk that errs is told by the storage
                self._next = self._folders.next_folder()
        return (self._pending or self._next).name

    @property
    def judged(self) -> str:
        """Name of the episode that a judgement would be of: that which is open or waits."""
        return "" if self.state is State.IDLE else self.present

    def _take(self, event: Event, now_ns: int, words: str = "") -> str:
        """Do what an event asks for in the present state; returns the new message.

        Args:
            event: What is asked for.
            now_ns: Time [ns].
            words: The label, or the reason.
        """
        with self._lock:
            self._end_moved(now_ns)
            step = STEPS[self.state, event]
            if step.refusal:
                raise EpisodeError(step.refusal.format(episode=self.present))
            if Act.OPEN in step.acts:
                self._prepare(event, now_ns)
            for act in step.acts:
                self._acts[act](now_ns, words)
            return self._message

    def supervise(self, now_ns: int) -> None:
        """Close the open episode when its disk refuses or runs full, or its bag is gone.

        Call it once a second.

        A folder that takes none is tried again.
        """
        storage = self._storage
        with self._lock:
            episode = self._episode
            if episode is None:
                storage.trouble = storage.trouble and storage.folder_trouble()
                return
            storage.trouble = storage.threat(episode, self._comes)
            reason = storage.end_of(episode, self._comes)
            try:
                if reason or not episode.is_in_place:
                    storage.trouble = ""
                    self.interrupt(now_ns, reason)
            except EpisodeError as error:
                self._message = "; ".join(filter(None, [reason, str(error)]))
                _LOG.error(self._message)

    def probe_disk(self) -> None:
        """Try how fast the disk is, before a session; takes half a second."""
        self._storage.probe()

    def status(self, now_ns: int) -> dict[str, Any]:
        """Return what /episode/status tells."""
        with self._lock:
            episode, state = self._episode, self.state
            waits = self._pending if state is State.PENDING else None
            status: dict[str, Any] = {
                "state": state.value,
                "inherited": waits is not None and waits != self._own,
                "waits_since_ns": None if waits is None else decided_ns(waits),
                "episode": number_of(Path(self.present)),
                "output": str(self.config.output.resolve()),
                "task": self.config.task,
                "instruction": self.config.instruction,
                "operator": self.config.operator,
                "kept": self._kept,
                "discarded": self._discarded,
                "message": self._storage.trouble or self._message,
                "trouble": self._storage.trouble,
                "not_recorded": dict(self._watch.not_recorded),
                "ring_s": round(self._intake.ring.seconds),
                "disk": self._storage.told(self._comes),
            }
            if episode is not None:
                status["seconds"] = round((now_ns - episode.start_ns) / NANOSECONDS, 1)
                status["dropped"] = episode.dropped
                status["not_written"] = episode.losses.as_dict()
                status["clock"] = episode.clock.as_dict()
                status["streams"] = self._live(episode, now_ns)
            return status

    def _live(self, episode: EpisodeWriter, now_ns: int) -> dict[str, Any]:
        """Counters of each stream beside the rate that the contract promises."""
        nominal = {spec.name: spec.rate_hz for spec in self.streams.values()}
        return {
            name: summary.as_status(nominal[name])
            for name, summary in episode.summaries(now_ns).items()
        }

    def _prepare(self, event: Event, now_ns: int) -> None:
        """Refuse an episode that cannot begin, and settle how far back it reaches."""
        self._past_s = self.config.pre_roll_s
        if event is Event.SAVE:
            self._past_s = self.config.ring_s
            if not self._intake.ring.seconds:
                raise EpisodeError(
                    f"nothing to save: no message in the last {self._past_s:g} s, or all of them "
                    "are in an episode already; start the cell, or raise ring_s and ring_mb"
                )
        else:
            self._watch.require(now_ns)
        self._storage.require(self._comes)

    def _open(self, now_ns: int, _: str) -> None:
        past = self._intake.past(now_ns, self._past_s)
        folder, was_there = self.config.output, True
        try:
            folder = self._folders.next_folder()
            was_there = folder.exists()
            self._storage.reserve.hold()
            episode = EpisodeWriter(
                folder,
                self._info(self._intake.clock.wall_at(past.start_ns)),
                self.streams.values(),
                start_ns=past.start_ns,
                latched=past.standing,
                qos=self._watch.qos,
                clock=self._intake.clock,
                open_bag=self._storage.make_bag,
            )
        except OSError as error:
            self._storage.reserve.release()
            if not was_there:
                shutil.rmtree(folder, ignore_errors=True)  # nothing is in it yet
            raise EpisodeError(
                f"{folder} cannot be created ({error.strerror}; {self._storage.free_gb():.2f} GB "
                f"free): {remedy(error)}, or choose another output folder"
            ) from None
        self._intake.begin(episode, past)
        slow = self._storage.slowness(self._comes, ROOMY)
        self._message = f"recording {folder.name}" + (f"; {slow}" if slow else "")

    def _close(self, now_ns: int, _: str) -> None:
        """Close the bag; from before its last message on, a crash leaves it pending."""
        if self._episode is None:
            return
        folder, lost = self._episode.folder, self._episode.losses.words
        with suppress(EpisodeError):  # a disk that refuses this is told by what follows
            self._mark_as(folder, PENDING, "", now_ns)
        try:
            line = self._finish(now_ns, PENDING, "")[1]
        except EpisodeError:
            with suppress(EpisodeError):
                self._mark_as(folder, INTERRUPTED, f"the disk refused it; {lost()}", now_ns)
            raise
        if not is_pending(folder):
            self._mark_as(folder, PENDING, "", now_ns)
        self._pending = self._own = folder
        self._message = f"{folder.name} waits to be kept or discarded: {line}"

    def _end_moved(self, now_ns: int) -> None:
        """End an open episode whose bag is gone from its place; what is there now stays as it is.

        Raises:
            EpisodeError: it was removed or moved.
        """
        if self._episode is None or self._episode.is_in_place:
            return
        try:
            self._finish(now_ns, INTERRUPTED, "its bag was removed or moved while it was recorded")
        except EpisodeError as error:
            self._message = str(error)
            raise

    def _mark_as(self, folder: Path, outcome: str, reason: str, now_ns: int) -> None:
        """Write down beside the bag what is decided, at the wall clock's time."""
        self._folders.mark(folder, outcome, reason, self._intake.clock.wall_at(now_ns))

    def _mark(self, now_ns: int, reason: str) -> None:
        folder = None if self._episode is None else self._episode.folder
        try:
            folder, line = self._finish(now_ns, INTERRUPTED, reason)
        except EpisodeError:
            if folder is not None:
                with suppress(EpisodeError):  # a disk that refuses this too is told by the first
                    self._mark_as(folder, INTERRUPTED, reason, now_ns)
            raise
        self._kept += 1
        self._message = f"{folder.name} kept ({INTERRUPTED}): {line}"

    def _label(self, now_ns: int, label: str) -> None:
        if self._pending is not None:
            self._mark_as(self._pending, label, "", now_ns)
            self._message = f"{self._pending.name} kept ({label})"
            self._kept += 1
            self._pending = self._folders.pending()

    def _set_aside(self, now_ns: int, reason: str) -> None:
        folder, line = self._pending, reason
        if self._episode is not None:
            folder = self._episode.folder
            try:
                line = self._finish(now_ns, DISCARDED, reason)[1]
            except BagMovedError:
                raise
            except EpisodeError as error:  # nobody wants what the disk refused, either
                line = str(error)
        if folder is None:
            return
        self._folders.set_aside(folder, reason, self._intake.clock.wall_at(now_ns))
        self._message = f"{folder.name} discarded: {line}"
        self._discarded += 1
        self._pending = self._folders.pending()

    def _finish(self, now_ns: int, outcome: str, reason: str) -> tuple[Path, str]:
        episode = self._episode
        if episode is None:
            raise EpisodeError("no episode is being recorded: start one first")
        self._storage.reserve.release()
        self._intake.end()
        fields = episode.finish(outcome, reason, now_ns, self._watch.not_recorded)
        required = self.required()
        counted = episode.summaries(now_ns)
        streams = {spec.name: counted[spec.name] for spec in required}
        notes = [
            episode.losses.words(),
            episode.clock.words(),
            *(
                f"{topic} was not recorded: {why}"
                for topic, why in self._watch.not_recorded.items()
            ),
        ]
        doubt = ""
        if outcome != DISCARDED:
            doubt = doubt_line(required, episode.held_s(now_ns), streams, self.cell.tick_rate)
        told = (doubt, summary_line(fields["duration_s"], streams), *notes)
        return episode.folder, "; ".join(filter(None, told))

    def _info(self, start_ns: int) -> dict[str, Any]:
        return {
            "format": FORMAT,
            "contract": self.cell.canonical_text(),
            "contract_sha256": self.cell.sha256,
            "layout_sha256": self.cell.layout.sha256,
            "hardware": self.cell.hardware,
            "task": self.config.task,
            "instruction": self.config.instruction,
            "operator": self.config.operator,
            "seed": self.config.seed,
            "start_ns": start_ns,
            "required": [spec.name for spec in self.required()],
            "versions": dict(self.config.versions),
            "devices": dict(self.devices()),
        }
