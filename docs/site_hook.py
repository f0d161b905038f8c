"""What the site (mkdocs.yml) needs beside docs/: pages from elsewhere in the repository, links to them, plain tags."""

import re
from pathlib import Path
from posixpath import relpath

from markdown import Extension, Markdown
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

REPOSITORY = Path(__file__).resolve().parent.parent
PAGES = {  # in the repository: in the site
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
    "SECURITY.md": "security.md",
    "findings/README.md": "findings.md",
    "README.md": "README.md",  # of docs/: the site starts there
}
CODE = re.compile(r"(^```.*?^```$)", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\[([^\]]*)\]\(([^)\s#]+)(#[^)\s]*)?\)")


class PlainAngles(Extension):
    """What looks like a tag is text: docstrings write runs/<config>."""

    def extendMarkdown(self, md: Markdown) -> None:  # noqa: N802  (its name in Markdown)
        md.preprocessors.deregister("html_block")
        md.inlinePatterns.deregister("html")


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    config.markdown_extensions.append(PlainAngles())
    return config


def on_files(files: Files, *, config: MkDocsConfig) -> Files:
    """Add the pages from outside docs/."""
    for source, target in PAGES.items():
        if files.get_file_from_path(target) is None:
            files.append(File.generated(config, target, abs_src_path=str(REPOSITORY / source)))
    return files


def on_page_markdown(markdown: str, *, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Links to pages outside docs/ go to their place in the site; of other files outside only the name is left."""
    site_path = page.file.src_uri
    source = next((source for source, target in PAGES.items() if target == site_path and source != "README.md"), None)
    folder = (REPOSITORY / (source or f"docs/{site_path}")).parent

    def replaced(link: re.Match[str]) -> str:
        text, path, anchor = link[1], link[2], link[3] or ""
        target = (folder / path).resolve()
        if "://" in path or not target.exists():
            return link[0]  # mkdocs warns of what is not there
        inside = target.relative_to(REPOSITORY).as_posix()
        place = PAGES.get(inside) or (inside.removeprefix("docs/") if inside.startswith("docs/") else None)
        if place is None or files.get_file_from_path(place) is None:
            return f"`{inside}`" if inside.endswith(text) else f"{text} (`{inside}`)"
        return f"[{text}]({relpath(place, str(Path(site_path).parent))}{anchor})"

    return "".join(part if CODE.match(part) else LINK.sub(replaced, part) for part in CODE.split(markdown))
