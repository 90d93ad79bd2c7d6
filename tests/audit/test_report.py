"""The report is plain data that survives JSON."""

import json
import math

from training.audit.findings import Finding
from training.audit.report import EpisodeAudit, SetAudit, set_from_dict

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
        ),
    ),
)


def test_a_report_comes_back_from_json_as_it_went():
    text = json.dumps(AUDIT.as_dict(), allow_nan=False)
    again = set_from_dict(json.loads(text))
    assert json.dumps(again.as_dict(), allow_nan=False) == text
    assert again.episodes[0].failed == ("blur",)
    assert math.isnan(again.episodes[0].measures["lag_s"])
