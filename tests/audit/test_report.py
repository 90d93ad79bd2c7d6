"""The report is plain data that survives JSON."""

import json
import math

import numpy as np

from training.audit.findings import Finding
from training.audit.report import (
    LONGEST_PLOT,
    EpisodeAudit,
    SetAudit,
    Thumbnail,
    make_plot,
    set_from_dict,
)

AUDIT = SetAudit(
    folder="bags",
    rules={"blur": "Pictures are sharp."},
    unreadable={"episode_000001": "truncated"},
    episodes=(
        EpisodeAudit(
            name="episode_000000",
            seconds=4.0,
            score=71.5,
            verdicts={"blur": "flag", "idle": "pass"},
            findings=(
                Finding(
                    rule="blur",
                    severity="flag",
                    stream="cam_high",
                    message="blurred",
                    value=math.inf,
                    bound=2.0,
                    start_s=0.5,
                    end_s=1.0,
                ),
            ),
            measures={"idle_fraction": 0.25, "lag_s": math.nan},
            plots=(make_plot("joints", "rad", [0.0, 1.0], {"q1": [0.5, math.nan]}),),
            thumbnails={"cam_high": (Thumbnail(time_s=1.5, jpeg=b"\xff\xd8\x00"),)},
        ),
    ),
)


def test_a_report_comes_back_from_json_as_it_went():
    text = json.dumps(AUDIT.as_dict(), allow_nan=False)
    again = set_from_dict(json.loads(text))
    assert json.dumps(again.as_dict(), allow_nan=False) == text
    assert again.episodes[0].failed == ("blur",)
    assert again.episodes[0].thumbnails == AUDIT.episodes[0].thumbnails
    assert math.isnan(again.episodes[0].measures["lag_s"])


def test_a_report_without_pictures_keeps_findings_and_measures():
    short = set_from_dict(AUDIT.as_dict(with_pictures=False))
    assert short.episodes[0].plots == () and not short.episodes[0].thumbnails
    assert short.episodes[0].findings[0].message == "blurred" and short.score == 71.5


def test_a_long_line_is_thinned_and_keeps_its_ends():
    times = np.arange(100_000) / 100.0
    plot = make_plot("joints", "rad", times, {"q1": times * 2.0})
    assert len(plot.times) == len(plot.lines["q1"]) == LONGEST_PLOT
    assert (plot.times[0], plot.times[-1]) == (0.0, 999.99)


def test_an_empty_line_is_drawn_as_none():
    assert make_plot("joints", "rad", [], {"q1": []}).times == ()
