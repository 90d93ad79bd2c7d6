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
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ate_core.contract import Cell
from ate_core.episode_folders import EpisodeFolders, is_pending, number_of
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
from ate_core.streams import StreamSpec, cell_streams
from ate_recorder.bag_writer import BagWriter
from ate_recorder.clocks import WallClock
from ate_recorder.counters import StreamSummary
from ate_recorder.disk import ROOMY, DiskGuard, Reserve, probe_speed
from ate_recorder.episode_writer import MAX_QUEUE_BYTES, EpisodeWriter
from ate_recorder.folder_claim import FolderClaim
from ate_recorder.losses import QUEUE_FULL
from ate_recorder.pre_roll import PreRollRing
from ate_recorder.session import STEPS, Act, Event, State

FORMAT = 2
"""Version of the bag's /episode/info and /episode/outcome."""
LEAST_MINUTES = 2.0
"""Room for less is told while an episode is recorded [min]."""
_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class RecorderConfig:
    """Where episodes go and what is written beside the data."""

    output: Path
    """Folder of the episodes."""
    task: str = ""
    """Short name of the task, for instance ``pick_place``."""
    instruction: str = ""
    """The task in words, as a policy will read it."""
    operator: str = ""
    """Who demonstrates."""
    seed: int = -1
    """Seed of a scripted demonstration; -1 for people."""
    require_images: bool = True
    """Whether an episode without its cameras is refused."""
    silence: float = 1.0
    """Silence of a required stream after which no episode is started [s]."""
    min_free_gb: float = 1.0
    """Free disk below which no episode is started and an open one is closed [GB]."""
    may_be_slow: bool = False
    """Whether an episode starts on a disk that is slower than the streams; it is told."""
    ring_s: float = 10.0
    """How far back the last seconds can be saved [s]."""
    ring_mb: float = 128.0
    """Memory that these seconds may take [MB]."""
    pre_roll_s: float = 0.0
    """How long before it was asked for an episode begins [s]."""
    versions: Mapping[str, str] = field(default_factory=dict)
    """Versions of the software that records, written into the episode."""

    def __post_init__(self) -> None:
        """Check the ring.

        Raises:
            EpisodeError: it is larger than the queue to the disk, or shorter than the pre-roll.
        """
        largest = MAX_QUEUE_BYTES / 1e6
        if not (1.0 <= self.ring_s <= 3600.0 and 1.0 <= self.ring_mb <= largest):
            raise EpisodeError(
                f"ring_s {self.ring_s:g} s and ring_mb {self.ring_mb:g} MB: need 1 to 3600 s and "
                f"1 to {largest:.0f} MB, the queue to the disk"
            )
        if not 0.0 <= self.pre_roll_s <= self.ring_s:
            raise EpisodeError(
                f"pre_roll_s {self.pre_roll_s:g} s: need 0 to ring_s {self.ring_s:g} s"
            )


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
        self.streams = {spec.topic: spec for spec in cell_streams(cell)}
        self._open_bag = open_bag
        self._disk = DiskGuard(
            config.output, config.min_free_gb, free_bytes=free_bytes, probe=probe
        )
        self._reserve = Reserve(config.output)
        self._claim = claim
        self._bag: BagWriter | None = None
        self.devices: Callable[[], Mapping[str, Any]] = dict
        """What the devices say of themselves, for the bag."""
        self._lock = threading.RLock()
        self._episode: EpisodeWriter | None = None
        self._folders = EpisodeFolders(config.output)
        self._acts = {
            Act.CLOSE: self._close,
            Act.MARK: self._mark,
            Act.LABEL: self._label,
            Act.SET_ASIDE: self._set_aside,
            Act.OPEN: self._open,
        }
        self._seen_ns: dict[str, int] = {}
        self._feed = threading.Lock()  # between what comes in and what an episode begins with
        self._ring = PreRollRing(config.ring_s, round(config.ring_mb * 1e6))
        self._qos: dict[str, tuple[bool, bool]] = {}
        self._publishers: dict[str, int] = {}
        self._not_recorded: dict[str, str] = {}
        self._clock = WallClock()
        self._kept = self._discarded = 0
        self._past_s = 0.0
        self._trouble = self._folder_trouble()
        if self._trouble:
            _LOG.warning(self._trouble)
        self._pending = self._folders.pending()
        self._message = (
            f"{self.present} waits to be kept or discarded" if self._pending else "ready"
        )

    @property
    def recording(self) -> bool:
        """Whether an episode is open."""
        return self._episode is not None

    def required(self) -> list[StreamSpec]:
        """Return the streams without which no episode is started."""
        specs = self.streams.values()
        images = self.config.require_images
        return [spec for spec in specs if spec.required and (images or spec.kind != "image")]

    def describe(self, topic: str, *, reliable: bool, latched: bool, publishers: int) -> None:
        """Note how many publishers a topic has and what they offer, for the bag's metadata."""
        self._qos[topic] = (reliable, latched)
        self._publishers[topic] = publishers

    def refuse(self, topic: str, reason: str) -> None:
        """Note why a publisher of a topic is not recorded; empty text where all of them are."""
        self._not_recorded.pop(topic, None)
        if reason:
            self._not_recorded[topic] = reason

    def see_clock(self, now_ns: int, wall_ns: int) -> None:
        """Take a look at both clocks [ns]; a step of the wall clock is marked in the episode."""
        with self._feed:
            step = self._clock.see(now_ns, wall_ns)
            if self._episode is not None:
                self._episode.see_clock(now_ns, wall_ns, step)
        if step is not None:
            _LOG.warning("the host's clock was set by %+.3f s", step.size_ns / NANOSECONDS)

    def receive(
        self,
        topic: str,
        data: bytes,
        receive_ns: int,
        *,
        wall_ns: int | None = None,
        number: int = 0,
        missed: int = 0,
    ) -> None:
        """Take one message.

        Args:
            topic: Its topic.
            data: CDR bytes.
            receive_ns: Time of its receipt [ns].
            wall_ns: What the wall clock said then [ns]; None: the same.
            number: Its publisher's own count.
            missed: Messages of this publisher that were lost just before it.
        """
        spec = self.streams[topic]
        self._seen_ns[topic] = receive_ns
        with self._feed:
            self._ring.add(spec, data, receive_ns, wall_ns, number, missed)
            if self._episode is not None:
                self._episode.put(spec, data, receive_ns, wall_ns, number, missed)

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
            EpisodeError: none is open, or it is empty: then it was set aside.
        """
        with self._lock:
            lack = "" if self._episode is None else self._episode.lack()
            if lack:
                name = self.present
                self._take(Event.EMPTY, now_ns, f"empty: {lack}")
                self._message = f"{name} is empty and was set aside: {lack}"
                raise EpisodeError(self._message)
            line = self._take(Event.STOP, now_ns)
            return self.keep(now_ns, label) if label else line

    def keep(self, now_ns: int, label: str = SUCCESS) -> str:
        """Keep the episode that waits, with a label; return one line about it."""
        return self._take(Event.KEEP, now_ns, check_label(label))

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
        if self._pending is not None and not is_pending(self._pending):
            self._pending = self._folders.pending()  # judged by somebody else
        return State.IDLE if self._pending is None else State.PENDING

    @property
    def present(self) -> str:
        """Name of the episode that is open or waits, else of the next one."""
        if self._episode is not None:
            return self._episode.folder.name
        return (self._pending or self._folders.next_folder()).name

    def _take(self, event: Event, now_ns: int, words: str = "") -> str:
        """Do what an event asks for in the present state; returns the new message.

        Args:
            event: What is asked for.
            now_ns: Time [ns].
            words: The label, or the reason.
        """
        with self._lock:
            step = STEPS[self.state, event]
            if step.refusal:
                raise EpisodeError(step.refusal.format(episode=self.present))
            if Act.OPEN in step.acts:
                self._prepare(event, now_ns)
            for act in step.acts:
                self._acts[act](now_ns, words)
            return self._message

    def supervise(self, now_ns: int) -> None:
        """Close the open episode when its disk refuses or runs full; call it once a second.

        A folder that takes none is tried again.
        """
        with self._lock:
            episode = self._episode
            if episode is None:
                self._trouble = self._trouble and self._folder_trouble()
                return
            self._trouble = self._disk_trouble(episode)
            reason = self._end_of(episode)
            try:
                if reason:
                    self._trouble = ""
                    self.interrupt(now_ns, reason)
            except EpisodeError as error:
                self._message = f"{reason}; {error}"
                _LOG.error(self._message)

    def probe_disk(self) -> None:
        """Try how fast the disk is, before a session; takes half a second."""
        self._disk.probe()

    def _end_of(self, episode: EpisodeWriter) -> str:
        """Why the open episode cannot go on; empty while it can."""
        state = self._disk.state(self._ring.bytes_per_second)
        if episode.error is not None:
            told = getattr(episode.error, "strerror", None) or episode.error
            return f"the disk refused it ({told}): {state.free / 1e9:.2f} GB free"
        if not episode.folder.is_dir():
            return f"{episode.folder} was removed or moved while it was recorded"
        if state.free < state.reserve / 2:
            return f"disk full: {state.free / 1e9:.2f} GB free"
        return ""

    def _disk_trouble(self, episode: EpisodeWriter) -> str:
        """What threatens the open episode, with the numbers; empty where nothing does."""
        takes = 0.0 if self._bag is None else self._bag.meter.bytes_per_second
        self._disk.note(takes)
        state = self._disk.state(self._ring.bytes_per_second)
        if state.minutes is not None and state.minutes < LEAST_MINUTES:
            return f"the disk is full in {state.minutes:.1f} min: stop soon, then free space"
        if episode.waiting_bytes < MAX_QUEUE_BYTES / 4:
            return ""
        takes = takes or state.takes
        return (
            f"{episode.waiting_bytes / 1e6:.0f} MB wait for the disk, which takes "
            f"{takes / 1e6:.0f} MB/s of the {state.comes / 1e6:.0f} MB/s that come; some are lost "
            f"from {MAX_QUEUE_BYTES / 1e6:.0f} MB on: stop soon, choose a faster disk"
        )

    def status(self, now_ns: int) -> dict[str, Any]:
        """Return what /episode/status tells."""
        with self._lock:
            episode = self._episode
            status: dict[str, Any] = {
                "state": self.state.value,
                "episode": number_of(Path(self.present)),
                "output": str(self.config.output.resolve()),
                "task": self.config.task,
                "instruction": self.config.instruction,
                "operator": self.config.operator,
                "kept": self._kept,
                "discarded": self._discarded,
                "message": self._trouble or self._message,
                "trouble": self._trouble,
                "not_recorded": dict(self._not_recorded),
                "ring_s": round(self._ring.seconds),
                "disk": self._disk.state(self._ring.bytes_per_second).as_dict(),
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
            name: {
                "rate_hz": s.rate_hz,
                "nominal_hz": nominal[name],
                "count": s.count,
                "gaps": s.gaps,
                "longest_gap_ms": s.longest_gap_ms,
                "skew_ms": s.skew_ms,
                "stamp_steps": s.stamp_steps,
            }
            for name, s in episode.summaries(now_ns).items()
        }

    def _prepare(self, event: Event, now_ns: int) -> None:
        """Refuse an episode that cannot begin, and settle how far back it reaches."""
        self._past_s = self.config.pre_roll_s
        if event is Event.SAVE:
            self._past_s = self.config.ring_s
            if not self._ring.seconds:
                raise EpisodeError(
                    f"nothing to save: no message in the last {self._past_s:g} s, or all of them "
                    "are in an episode already; start the cell, or raise ring_s and ring_mb"
                )
        else:
            self._require_streams(now_ns)
        self._require_space()

    def _open(self, now_ns: int, _: str) -> None:
        folder = self._folders.next_folder()
        with self._feed:
            since_ns = now_ns - round(self._past_s * NANOSECONDS) + 1
            past, standing = self._ring.since(since_ns), self._ring.standing(since_ns)
            taken = self._ring.taken
        start_ns = min([now_ns, *(sample.receive_ns for sample in past)])
        was_there = folder.exists()
        try:
            self._reserve.hold()
            episode = EpisodeWriter(
                folder,
                self._info(self._clock.wall_at(start_ns)),
                self.streams.values(),
                start_ns=start_ns,
                latched=standing,
                qos=self._qos,
                clock=self._clock,
                open_bag=self._make_bag,
            )
        except OSError as error:
            self._reserve.release()
            if not was_there:
                shutil.rmtree(folder, ignore_errors=True)  # nothing is in it yet
            free = self._disk.state(0.0).free
            raise EpisodeError(
                f"{folder} cannot be created ({error.strerror}; {free / 1e9:.2f} GB free): free "
                "space, or choose another output folder"
            ) from None
        with self._feed:
            recent = self._ring.after(taken)  # came while the bag was made
            fell_out = self._ring.taken - taken - len(recent)
            if fell_out:
                episode.losses.add("any stream", QUEUE_FULL, fell_out)
            for sample in (*past, *recent):
                episode.put(*sample)
            self._episode = episode
        slow = self._disk.state(self._ring.bytes_per_second).slowness(ROOMY)
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
        self._pending = folder
        self._message = f"{folder.name} waits to be kept or discarded: {line}"

    def _mark_as(self, folder: Path, outcome: str, reason: str, now_ns: int) -> None:
        """Write down beside the bag what is decided, at the wall clock's time."""
        self._folders.mark(folder, outcome, reason, self._clock.wall_at(now_ns))

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
            folder, line = self._finish(now_ns, DISCARDED, reason)
        if folder is None:
            return
        self._folders.set_aside(folder, reason, self._clock.wall_at(now_ns))
        self._message = f"{folder.name} discarded: {line}"
        self._discarded += 1
        self._pending = self._folders.pending()

    def _finish(self, now_ns: int, outcome: str, reason: str) -> tuple[Path, str]:
        episode = self._episode
        if episode is None:
            raise EpisodeError("no episode is being recorded: start one first")
        self._reserve.release()
        with self._feed:
            self._episode = None
            self._ring.forget()  # no two episodes hold the same message
        fields = episode.finish(outcome, reason, now_ns, self._not_recorded)
        shown = {spec.name for spec in self.required()}
        streams = {n: s for n, s in episode.summaries(now_ns).items() if n in shown}
        notes = [
            episode.losses.words(),
            episode.clock.words(),
            *(f"{topic} was not recorded: {why}" for topic, why in self._not_recorded.items()),
        ]
        return episode.folder, "; ".join([_line(fields, streams), *filter(None, notes)])

    def _require_streams(self, now_ns: int) -> None:
        for spec in self.required():
            seen = self._seen_ns.get(spec.topic)
            silence = None if seen is None else (now_ns - seen) / NANOSECONDS
            if silence is None or silence > self.config.silence:
                told = "never came" if silence is None else f"is silent for {silence:.1f} s"
                raise EpisodeError(
                    f"no episode started: {spec.topic} {told} (bound {self.config.silence:.1f} s);"
                    " start the node that publishes it, or see /diagnostics"
                )
            publishers = self._publishers.get(spec.topic, 1)
            if publishers > 1:
                raise EpisodeError(
                    f"no episode started: {spec.topic} has {publishers} publishers (bound 1); "
                    "stop the other cell or the old process, or set another ROS_DOMAIN_ID"
                )

    def _require_space(self) -> None:
        self._trouble = self._folder_trouble()
        if self._trouble:
            raise EpisodeError(self._trouble)
        refusal = self._disk.refusal(self._ring.bytes_per_second, self.config.may_be_slow)
        if refusal:
            raise EpisodeError(f"no episode started in {self.config.output}: {refusal}")

    def _folder_trouble(self) -> str:
        """Why the folder takes no episode of this recorder; empty where it does."""
        trouble = self._folders.trouble()
        return trouble or ("" if self._claim is None else self._claim.trouble())

    def _make_bag(self, folder: Path) -> BagWriter:
        self._bag = self._open_bag(folder)
        return self._bag

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


def _line(fields: Mapping[str, Any], streams: Mapping[str, StreamSummary]) -> str:
    rates = ", ".join(f"{name} {s.rate_hz:.1f} Hz" for name, s in streams.items())
    gaps = [
        f"{name} {s.gaps} (longest {s.longest_gap_ms:.0f} ms)"
        for name, s in streams.items()
        if s.gaps
    ]
    steps = [f"{name} {s.stamp_steps}" for name, s in streams.items() if s.stamp_steps]
    stepped = f"; stamps that step: {', '.join(steps)}" if steps else ""
    return f"{fields['duration_s']:.1f} s; {rates}; gaps: {', '.join(gaps) or 'none'}{stepped}"
