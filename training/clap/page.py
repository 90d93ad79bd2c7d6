"""The page of `ate token-report`, from its numbers."""

import html
from collections.abc import Mapping
from typing import Any

from matplotlib.figure import Figure

from training.clap.card import CONTRADICTION
from training.clap.chunks import same_take_note
from training.clap.compare import CLIPPED
from training.reporting.figures import png
from training.reporting.html_page import image, note, page, section, table

Numbers = Mapping[str, Any]
"""What `ate token-report` measured, as JSON values."""
RATIO_NOTE = (
    "r is Eq. 8 of CLAP: bits over those that a memoryless uniform coder would need for the same "
    "error. It is no measure of quality: the worst code of the paper's Table V has the best r."
)


def token_page(numbers: Numbers) -> str:
    """The whole page."""
    body = [f"<h1>Action tokens, {html.escape(numbers['space'])} space</h1>", _data(numbers)]
    for split in numbers["splits"]:
        body.append(section(f"Held out: {split}", _split(numbers, split)))
    body.append(section("Errors on held-out episodes", _errors(numbers)))
    body.append(section("What is counted", note(CONTRADICTION) + note(RATIO_NOTE)))
    return page("Action tokens", body)


def _data(numbers: Numbers) -> str:
    rows: list[tuple[object, ...]] = [
        (
            split,
            f"{about['held_out_episodes']} of {about['episodes']}"
            + same_take_note(about["same_take"]),
            about["train_chunks"],
            about["held_out_chunks"],
            f"{100 * about['outside_train']:.1f} %",
            f"{100 * about['outside_held_out']:.1f} %",
            f"{100 * about['still']:.0f} %",
        )
        for split, about in numbers["splits"].items()
    ]
    head = (
        *("split", "episodes held out", "training chunks", "held-out chunks"),
        *("outside [-1, 1]: training", "held out", "arms standing still"),
    )
    told = f"From {', '.join(numbers['sources'])}; {numbers['numbers']} numbers per arm and chunk "
    told += f"of {numbers['horizon']} ticks. Statistics and codes come from training episodes."
    return f"<p>{html.escape(told)}</p>" + table(head, rows)


def _split(numbers: Numbers, split: str) -> str:
    runs = [run for run in numbers["runs"] if run["split"] == split]
    rivals = [row for row in numbers["rivals"] if row["split"] == split]
    content = image(curve(runs, rivals), "png", "PSNR against bits") if runs or rivals else ""
    if runs:
        content += table(RUN_HEAD, [_run_row(run) for run in runs])
    else:
        content += note("None of the given tokens was trained with this split.")
    if rivals:
        content += table(RIVAL_HEAD, [_rival_row(row) for row in rivals])
    return content


RUN_HEAD = (
    *("tokens", "codes", "bits", "entropy [bit]", "PSNR training [dB]", "held out"),
    *("without codes", "r", "codes used", "perplexity", "steps"),
)


def _run_row(run: Numbers) -> tuple[object, ...]:
    held = run["held_out"]
    return (
        run["name"],
        f"{run['codes']} of {run['codebook']}",
        f"{held['bits']:g}",
        f"{held['entropy_bits']:.1f}",
        f"{run['train']['psnr']:.2f}",
        f"{held['psnr']:.2f}",
        f"{held['psnr_unquantised']:.2f}",
        f"{held['ratio']:.3f}",
        f"{held['used']} ({100 * held['used'] / run['codebook']:.0f} %)",
        f"{held['perplexity']:.0f}",
        run["steps"],
    )


RIVAL_HEAD = ("coder", "bits, mean", "most", "PSNR training [dB]", "held out")


def _rival_row(row: Numbers) -> tuple[object, ...]:
    numbers = (f"{row['bits']:.0f}", f"{row['most_bits']:.0f}")
    return (row["name"], *numbers, f"{row['train']:.2f}", f"{row['held_out']:.2f}")


def _errors(numbers: Numbers) -> str:
    content = ""
    for run in numbers["runs"]:
        content += f"<h3>{html.escape(run['name'])}</h3>"
        tools = run["tool_mm"]
        if isinstance(tools, str):
            content += note(f"No errors of the tool in mm: {tools}.")
        else:
            content += table(
                ("tool of", "mean error", "95 %", "largest"),
                [
                    (side, *(f"{errors[key]:.1f} mm" for key in ("mean", "p95", "largest")))
                    for side, errors in tools.items()
                ],
            )
        content += table(("number", "rms error", "largest"), [*map(_error, run["dimensions"])])
    return content or note("No tokens.")


def _error(entry: Numbers) -> tuple[str, str, str]:
    scale, unit = (1000.0, "mm") if entry["unit"] == "m" else (1.0, entry["unit"])
    rms, largest = (f"{scale * entry[key]:.3f} {unit}" for key in ("rms", "largest"))
    return entry["name"], rms, largest


def curve(runs: list[Numbers], rivals: list[Numbers]) -> bytes:
    """PSNR on held-out episodes against bits, one line per coder."""
    figure = Figure(figsize=(7.0, 4.2))
    axes = figure.add_subplot()
    lines: dict[str, list[Numbers]] = {}
    for row in rivals:
        if row["name"] != CLIPPED and row["bits"] <= LARGEST_BITS:
            lines.setdefault(row["name"], []).append(row)
    for name, rows in lines.items():
        style = "o-" if len(rows) > 1 else "x"
        axes.plot([r["bits"] for r in rows], [r["held_out"] for r in rows], style, label=name)
    for label, key in (("action tokens", "psnr"), ("the same without codes", "psnr_unquantised")):
        if runs:
            held = [run["held_out"] for run in runs]
            marker = "k*" if key == "psnr" else "k_"
            axes.plot([h["bits"] for h in held], [h[key] for h in held], marker, ms=9, label=label)
    axes.set(xlabel="bits per arm and chunk, mean", ylabel="PSNR on held-out episodes [dB]")
    axes.grid(alpha=0.3)
    axes.legend(fontsize="small")
    return png(figure)


LARGEST_BITS = 320
"""Of what the figure shows."""
