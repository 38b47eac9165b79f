"""For mkdocs: README, CHANGELOG, CONTRIBUTING and the cards of the weights are pages too, and links to them lead there.

They stay where they are, so that they read well in the repository; here their links are turned into those of the site.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).resolve().parents[1]
PAGES = {"README.md": "readme.md", "CHANGELOG.md": "changelog.md", "CONTRIBUTING.md": "contributing.md"}
PAGES |= {f"tracker/weights/{p.name}": f"cards/{p.name}" for p in sorted((ROOT / "tracker" / "weights").glob("*.md"))}
LINK = re.compile(r"(!?\[[^\]]*\])\(([^)#\s]+)(#[^)\s]*)?\)")


def on_files(files: Files, config: Any) -> Files:
    """Adds the pages that lie outside of docs/."""
    for path, page in PAGES.items():
        files.append(File.generated(config, page, content=(ROOT / path).read_text(encoding="utf-8")))
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Files) -> str:
    """Turns links between files of the repository into links of the site; those to code become plain text."""
    here = page.file.src_uri
    source = next((path for path, name in PAGES.items() if name == here), f"docs/{here}")

    def changed(match: re.Match[str]) -> str:
        text, target, anchor = match.group(1), match.group(2), match.group(3) or ""
        if "://" in target:
            return match.group(0)
        path = (ROOT / source).parent.joinpath(target).resolve()
        if not path.is_relative_to(ROOT):
            return match.group(0)
        name = path.relative_to(ROOT).as_posix()
        if name in PAGES:
            site = PAGES[name]
        elif name.startswith("docs/"):
            site = name.removeprefix("docs/")
        else:
            return text.strip("![]") if path.exists() else match.group(0)
        return f"{text}({'../' * here.count('/')}{site}{anchor})"

    return LINK.sub(changed, markdown)
