"""The pages hang together: links lead somewhere, all are in the site, messages are real."""

import ast
import importlib.util
import re
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
PAGES = [
    *ROOT.glob("*.md"),
    *ROOT.glob("docs/*.md"),
    *ROOT.glob("[!.]*/README.md"),
    *ROOT.glob("ros2_ws/src/*/README.md"),
]
CODE = re.compile(r"^ *```.*?^ *```$|`[^`\n]+`", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\(([^)\s]+)\)")
CELL_PICTURES = ("cell.webp", "operators.webp")


def anchors(page: Path) -> set[str]:
    """Names that a link to a heading of the page may end with."""
    titles = re.findall(
        r"^#+ (.+)$", re.sub(r"^```.*?^```$", "", page.read_text(), flags=re.M | re.S), re.M
    )
    return {re.sub(r"[^\w\- ]", "", title.lower()).strip().replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_link_leads_to_a_file_and_a_heading(page):
    broken = []
    for target in LINK.findall(CODE.sub("", page.read_text())):
        if target.startswith(("http://", "https://")):
            continue
        name, _, anchor = target.partition("#")
        file = (page.parent / name).resolve() if name else page
        if not file.is_file() or (anchor and anchor not in anchors(file)):
            broken.append(target)
    assert broken == []


def entries(nav):
    for item in nav:
        for value in item.values():
            yield from entries(value) if isinstance(value, list) else [value]


def test_every_page_of_docs_is_in_the_navigation_once():
    listed = list(entries(yaml.safe_load((ROOT / "mkdocs.yml").read_text())["nav"]))
    listed.remove("index.md")  # README.md
    assert sorted(listed) == sorted(path.name for path in ROOT.glob("docs/*.md"))


def test_the_pictures_of_the_cell_are_small():
    sizes = [(ROOT / "docs/pictures" / name).stat().st_size for name in CELL_PICTURES]
    assert sum(sizes) < 3_000_000


def texts():
    """Every string of the code, what is put in when it runs shown as an ellipsis."""
    for folder in (ROOT / "ros2_ws/src", ROOT / "training"):
        for path in folder.rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.JoinedStr):
                    yield "".join(
                        str(part.value) if isinstance(part, ast.Constant) else "…"
                        for part in node.values
                    )
                elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                    yield node.value


def has_in_order(text, pieces):
    """Whether a text has all pieces, each behind the one before."""
    place = 0
    for piece in pieces:
        place = text.find(piece, place)
        if place < 0:
            return False
        place += len(piece)
    return True


def test_the_messages_of_troubleshooting_are_those_of_the_code():
    page = (ROOT / "docs/troubleshooting.md").read_text()
    rows = re.findall(r"^\| (?:[\w ]+: )?`(.+)` \|[^|]*\|[^|]*\|$", page, re.MULTILINE)
    assert len(rows) > 30
    known = list(texts())
    for row in rows:
        assert any(has_in_order(text, row.split("…")) for text in known), f"no code says: {row}"


@pytest.fixture(scope="module")
def hook():
    spec = importlib.util.spec_from_file_location("site_pages", ROOT / "tools/site_pages.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_pages_outside_docs_become_pages_of_the_site(hook):
    outside = {str(page.relative_to(ROOT)) for page in PAGES if page.parent != ROOT / "docs"}
    assert outside == set(hook.pages_outside())


@pytest.mark.parametrize(
    ("line", "refused"),
    [
        ('<script src="https://cdn.example/a.js"></script>', True),
        ('<link href="https://fonts.example/a.css" rel="stylesheet">', True),
        ("<link rel=preconnect href=//fonts.example>", True),
        ("src: url(https://fonts.example/a.woff)", True),
        ('<img alt="a" src="http://example/a.png">', True),
        ('<pre class="mermaid">', True),
        ('<a href="https://arxiv.org/abs/2509.02055">', False),
        ('<script src="assets/a.js"></script>', False),
    ],
)
def test_a_site_that_would_load_from_the_network_is_refused(hook, line, refused):
    assert bool(hook.LOADED.search(line)) == refused


OTHER_WORDS = {
    "setpoints?": "set point",
    "(trials?|roll-outs?)": "rollout",
    "attempts?": "episode",
    "(finetuning|fine tuning)": "fine-tuning",
    "time ?steps?": "tick",
    "hyper-?parameters?": "recipe",
}
"""Words for what the glossary calls by another name."""


@pytest.mark.parametrize("page", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_pages_call_a_thing_as_the_glossary_does(page):
    text = CODE.sub("", page.read_text()) if page.name != "CHANGELOG.md" else ""
    for other, word in OTHER_WORDS.items():
        found = re.search(rf"\b{other}\b", text, re.IGNORECASE)
        assert found is None, f"{page}: {found[0]!r} is called {word!r} in docs/glossary.md"


def test_the_glossary_has_the_words_that_pages_are_held_to():
    page = (ROOT / "docs/glossary.md").read_text()
    words = set(re.findall(r"^\| \*\*(.+?)\*\*", page, re.MULTILINE))
    assert {"chunk", "commander", "embodiment", "guidance", "lease", "preset"} <= words
    assert {"shift", "strength λ", "variant", *OTHER_WORDS.values()} - {"fine-tuning"} <= words
