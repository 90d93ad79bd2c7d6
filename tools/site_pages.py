"""Hook of mkdocs: README files that lie outside docs/ become pages of the site too.

A page keeps the links that work in the repository (`../training/README.md`); here they are turned
into links between pages of the site. mkdocs itself is imported where it is used: `make docs`
installs it, and tests read this file without it.
"""

import os
import posixpath
import re
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files
    from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[1]
_LINK = re.compile(r"(?<=\]\()([^)\s#:]+)(?=[)#])")
LOADED = re.compile(
    r"<(?:script|img|iframe|source|video)\b[^>]*\bsrc=[\"']?(?:https?:)?//[^\"'\s>]+"
    r"|<link\b(?=[^>]*\brel=[\"']?(?:stylesheet|icon|pre))[^>]*\bhref=[\"']?(?:https?:)?//[^\"'\s>]+"
    r"|<pre class=[\"']?mermaid"  # the theme would fetch the program that draws it
    r"|url\([\"']?(?:https?:)?//[^)]+|@import\s+[\"'](?:https?:)?//[^\"']+"
)
_CODE = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)


def pages_outside() -> dict[str, str]:
    """Path in the repository -> path in the site, of every page that is not below docs/."""
    found = {"README.md": "index.md", "CONTRIBUTING.md": "contributing.md"}
    found["CHANGELOG.md"] = "changelog.md"
    for pattern in ("ros2_ws/src/*/README.md", "[!.]*/README.md"):
        for path in sorted(ROOT.glob(pattern)):
            found[path.relative_to(ROOT).as_posix()] = f"packages/{path.parent.name}.md"
    return found


def on_config(config: "MkDocsConfig") -> "MkDocsConfig":
    """Put the packages' pages behind those that mkdocs.yml lists."""
    packages = [path for path in pages_outside().values() if path.startswith("packages/")]
    work = ["contributing.md", "changelog.md"]
    config.nav = [*(config.nav or []), {"Packages": packages}, {"Work on it": work}]
    return config


def on_files(files: "Files", config: "MkDocsConfig") -> "Files":
    """Add the pages outside docs/."""
    from mkdocs.structure.files import File

    for source, target in pages_outside().items():
        files.append(File.generated(config, target, abs_src_path=str(ROOT / source)))
    return files


def on_page_markdown(markdown: str, page: "Page", config: "MkDocsConfig", files: "Files") -> str:
    """Turn links of the repository into links of the site."""
    here = page.file.src_uri
    in_site = pages_outside()
    in_repository = {target: source for source, target in in_site.items()}
    source = in_repository.get(here, f"docs/{here}")

    def rewrite(match: re.Match[str]) -> str:
        linked = posixpath.normpath(posixpath.join(posixpath.dirname(source), match[1]))
        target = in_site.get(linked, linked.removeprefix("docs/"))
        return os.path.relpath(target, posixpath.dirname(here) or ".")

    pieces, end = [], 0
    for code in _CODE.finditer(markdown):
        pieces += [_LINK.sub(rewrite, markdown[end : code.start()]), code[0]]
        end = code.end()
    return "".join([*pieces, _LINK.sub(rewrite, markdown[end:])])


def on_post_build(config: "MkDocsConfig") -> None:
    """Refuse a site that would load anything from the network."""
    from mkdocs.exceptions import PluginError

    for path in sorted(Path(config.site_dir).rglob("*")):
        if path.suffix in (".html", ".css") and (found := LOADED.search(path.read_text())):
            raise PluginError(f"{path} loads {found[0]!r} from the network: keep a copy in docs/")
