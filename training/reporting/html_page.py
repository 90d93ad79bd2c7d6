"""Pieces of a self-contained HTML page."""

import base64
import html
from collections.abc import Iterable, Sequence
from pathlib import Path

STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem;
       color: #222; background: #fff }
h1, h2 { line-height: 1.2 } h2 { margin-top: 2.2rem; border-bottom: 1px solid #ddd }
table { border-collapse: collapse; margin: 1rem 0 } td, th { padding: .25rem .8rem .25rem 0;
       text-align: left; border-bottom: 1px solid #eee } td.n { text-align: right }
img, video { max-width: 100% } .views img { width: 32% } code { font-size: .85em }
.note { color: #666 }
"""


def page(title: str, body: Iterable[str]) -> str:
    """The whole document."""
    return (
        "<!doctype html><html lang='en'><head><meta charset='utf-8'>"
        "<meta name='viewport' content='width=device-width'>"
        f"<title>{html.escape(title)}</title><style>{STYLE}</style></head><body>"
        + "".join(body)
        + "</body></html>\n"
    )


def section(title: str, content: str) -> str:
    """A heading and what stands below it."""
    return f"<h2>{html.escape(title)}</h2>{content}"


def note(text: str) -> str:
    """A remark, or what is missing and why."""
    return f"<p class='note'>{html.escape(text)}</p>"


def table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A table of plain values."""
    cells = "".join(f"<th>{html.escape(name)}</th>" for name in head)
    lines = [
        "<tr>" + "".join(f"<td>{html.escape(str(value))}</td>" for value in row) + "</tr>"
        for row in rows
    ]
    return f"<table><tr>{cells}</tr>{''.join(lines)}</table>"


def image(data: bytes, kind: str, title: str) -> str:
    """A picture inside the page; kind is 'png' or 'jpeg'."""
    text = base64.b64encode(data).decode()
    return f"<img alt='{html.escape(title)}' src='data:image/{kind};base64,{text}'>"


def video(path: Path) -> str:
    """An MP4 inside the page."""
    text = base64.b64encode(path.read_bytes()).decode()
    return f"<video controls loop src='data:video/mp4;base64,{text}'></video>"
