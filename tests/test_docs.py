"""The documentation against the code: links, files, options, configuration keys, and the worked examples."""

import ast
import re
import shlex
import shutil
import subprocess
import sys
import types
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from xml.etree import ElementTree

import pytest

from detkit.config.loading import ConfigError, load_config

REPOSITORY = Path(__file__).parent.parent
DOCS = REPOSITORY / "docs"
README = REPOSITORY / "README.md"
PAGES = [*sorted(REPOSITORY.glob("*.md")), *sorted(DOCS.rglob("*.md")), *sorted(REPOSITORY.glob("findings/*.md"))]
FIGURES = sorted(DOCS.rglob("*.svg"))
EXTENDING = DOCS / "extending.md"

BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
SPAN = re.compile(r"`([^`\n]+)`")
LINK = re.compile(r"\]\(([^)\s]+)\)")
HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)
CONFIG = re.compile(r"\bconfigs/[\w/.-]+\.yaml")
TOOL = re.compile(r"^(?:\S*/)?tools/(\w+)\.py$")
BEFORE_A_COMMAND = (
    "--",
    "|",
    "&&",
    ";",
    "$",
)  # where `detkit` is a command and no argument, beside the start of a line
SETTING = re.compile(r"^(?:data|model|train)(?:\.\w+)+=")
KEY = re.compile(r"^(?:data|model|train)(?:\.\w+)+$")
FILE_ENDINGS = (".pt", ".yaml", ".csv")  # model.pt is no key
DEFINED = re.compile(r"`([\w.]+)(?:\(\))?` \(\[[^\]]+\]\(([^)#]+\.py)\)\)")  # `name` ([file.py](path/to/file.py))
BASES = ("own_data", "fast_rcnn_vgg16", "sppnet_zf", "rcnn_vgg16", "demo")  # one of each kind, to try a setting on


def name_of(page: Path) -> str:
    return str(page.relative_to(REPOSITORY))


over_pages = pytest.mark.parametrize("page", PAGES, ids=name_of)


# What a page says


@dataclass(frozen=True)
class Command:
    """A line of shell that calls a tool: `detkit check-data ...` or `tools/check_data.py ...`."""

    tool: str  # the name of its module: check_data
    arguments: tuple[str, ...]

    @property
    def options(self) -> list[str]:
        return [argument.partition("=")[0] for argument in self.arguments if argument.startswith("--")]

    @property
    def settings(self) -> list[str]:
        return [argument for argument in self.arguments if SETTING.match(argument)]

    @property
    def config(self) -> Path | None:
        """The file of the config it names, by its path or its name, unless the shell is to put it together."""
        if self.tool == "configs":  # prints one: what is named may be the file it goes to
            return None
        named = [argument for argument in self.arguments if argument.endswith(".yaml") and "$" not in argument]
        if named:
            return REPOSITORY / named[0]
        if self.tool not in ("train", "pretrain") or not self.arguments:
            return None
        first = self.arguments[0]
        is_name = re.fullmatch(r"[a-z_0-9/]+", first) is not None
        return REPOSITORY / "configs" / f"{first}.yaml" if is_name else None


def prose(page: Path) -> str:
    return BLOCK.sub("", page.read_text())


def shell_lines(page: Path) -> list[str]:
    """Those of shell blocks and of code in the text, continued lines joined."""
    text = page.read_text()
    blocks = "".join(body for kind, body in BLOCK.findall(text) if kind in ("sh", "bash", ""))
    indented = "\n".join(re.findall(r"^    (python .+)$", prose(page), re.MULTILINE))
    spans = [span for span in SPAN.findall(prose(page)) if re.match(r"detkit \w|.*tools/.* ", span)]
    return [*(blocks + indented).replace("\\\n", " ").splitlines(), *spans]


def commands(page: Path) -> list[Command]:
    found = []
    for line in shell_lines(page):
        try:
            words = shlex.split(line, comments=True)
        except ValueError:  # a sentence with an apostrophe
            continue
        starts = called(words)
        ends = [*(start for _, start in starts[1:]), len(words)] if starts else []
        for (tool, start), end in zip(starts, ends, strict=True):
            found.append(Command(tool, tuple(word.rstrip(";") for word in words[start:end])))
    return found


def called(words: list[str]) -> list[tuple[str, int]]:
    """The tools that a line calls, each with the place of its first argument."""
    found = []
    for i, (before, word, after) in enumerate(zip(["--", *words], words, [*words[1:], ""], strict=False)):
        if script := TOOL.match(word):
            found.append((script[1], i + 1))
        elif word == "detkit" and before in BEFORE_A_COMMAND and re.match("[a-z]", after):
            found.append((after.replace("-", "_"), i + 2))
    return found


def anchors(page: Path) -> set[str]:
    """As GitHub makes them of headings."""
    names = (re.sub(r"\[([^\]]*)\]\([^)]*\)|`", r"\1", name).lower() for name in HEADING.findall(prose(page)))
    return {re.sub(r"[^\w\- ]", "", name).strip().replace(" ", "-") for name in names}


# Links and files


@over_pages
def test_links_lead_somewhere(page: Path) -> None:
    for link in LINK.findall(SPAN.sub("", prose(page))):
        path, _, anchor = link.partition("#")
        if "://" in link or link.startswith("mailto:"):
            continue
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), link
        assert target.is_relative_to(REPOSITORY), link
        if anchor:
            assert anchor in anchors(target), link


@over_pages
def test_named_configs_and_scripts_are_there(page: Path) -> None:
    text = page.read_text()
    for name in [*CONFIG.findall(text), *re.findall(r"(?<![\w/])(?:tools|docs)/[\w/]+\.py", text)]:
        assert (REPOSITORY / name).is_file(), name


@over_pages
def test_names_of_code_are_defined_in_the_file_beside_them(page: Path) -> None:
    for name, link in DEFINED.findall(prose(page)):
        code = (page.parent / link).read_text()
        for part in name.split("."):
            assert re.search(rf"^\s*(?:(?:class|def) {part}\b|{part}\b[^=\n]*=)", code, re.MULTILINE), (name, link)


def test_every_page_is_in_the_index() -> None:
    index = {(DOCS / link.partition("#")[0]).resolve() for link in LINK.findall((DOCS / "README.md").read_text())}
    assert [name_of(page) for page in PAGES if page not in index and page not in (README, DOCS / "README.md")] == []


def test_the_defences_named_are_held_by_tests_that_are_there() -> None:
    named = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", (REPOSITORY / "SECURITY.md").read_text())
    assert len(named) > 20
    for path, name in named:
        assert re.search(rf"^def {name}\(", (REPOSITORY / path).read_text(), re.MULTILINE), (path, name)


@pytest.mark.slow
def test_the_site_is_built_strictly_and_loads_nothing_from_elsewhere(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(tmp_path)]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    assert all((tmp_path / f"{name}.html").is_file() for name in ("index", "reference", "contributing", "security"))
    assert "&lt;confidence&gt;" in (tmp_path / "reference.html").read_text()  # of a docstring: text, and no tag
    for page in tmp_path.rglob("*.html"):
        loaded = re.findall(
            r"<(?:script|img|link|iframe)\b[^>]*\b(?:src|href)=[\"']?((?:https?:)?//[^\"'\s>]+)", page.read_text()
        )
        assert loaded == [], page


@pytest.mark.parametrize("figure", FIGURES, ids=name_of)
def test_figures_are_well_formed_and_say_what_they_show(figure: Path) -> None:
    root = ElementTree.parse(figure).getroot()
    title = root.find("{http://www.w3.org/2000/svg}title")
    assert "viewBox" in root.attrib
    assert title is not None and title.text


# Options and settings


def test_options_in_commands_are_options_of_the_tool() -> None:
    called = {
        (name_of(page), command.tool, option)
        for page in PAGES
        for command in commands(page)
        for option in command.options
    }
    assert len(called) > 20
    assert [call for call in sorted(called) if call[2] not in options(call[1])] == []


@cache
def options(tool: str) -> set[str]:
    """Those that the command's source adds: its name is that of its module."""
    source = ast.parse(source_of(tool).read_text())
    calls = [node for node in ast.walk(source) if isinstance(node, ast.Call)]
    added = [call for call in calls if isinstance(call.func, ast.Attribute) and call.func.attr == "add_argument"]
    words = [word.value for call in added for word in call.args if isinstance(word, ast.Constant)]
    return {"--help", *(word for word in words if str(word).startswith("--"))}


def source_of(tool: str) -> Path:
    return REPOSITORY / "detkit" / "cli" / f"{tool}.py"


@over_pages
def test_commands_are_there(page: Path) -> None:
    for command in commands(page):
        assert source_of(command.tool).is_file(), command


def complaint(base: str, settings: list[str]) -> str:
    """What is wrong with the settings; nothing if they fit."""
    try:
        load_config(REPOSITORY / "configs" / f"{base}.yaml", settings)
    except ConfigError as error:
        return str(error)
    return ""


def fits_some(settings: list[str]) -> bool:
    return any(not complaint(base, settings) for base in BASES)


@over_pages
def test_settings_in_commands_fit_their_config(page: Path) -> None:
    for command in commands(page):
        if command.config is None:
            assert fits_some(command.settings), command
        else:
            load_config(command.config, command.settings)


@over_pages
def test_settings_and_keys_in_the_text_are_of_the_schema(page: Path) -> None:
    for span in SPAN.findall(prose(page)):
        if SETTING.match(span):
            settings = span.partition(" --")[0].replace("'", "")
            # A value may have spaces: model.backbone={kind: timm, name: densenet121}
            assert fits_some(re.split(r" (?=(?:data|model|train)\.)", settings)), span
        elif KEY.match(span) and not span.endswith(FILE_ENDINGS):
            assert is_key(span), span


def is_key(key: str) -> bool:
    return any("unknown key" not in complaint(base, [f"{key}=null"]) for base in BASES)


# The worked examples


def examples() -> tuple[dict[str, str], dict[str, str]]:
    """The new files and the changes to existing ones, both by path."""
    files: dict[str, str] = {}
    changes: dict[str, str] = {}
    for kind, body in BLOCK.findall(EXTENDING.read_text()):
        if kind == "python":
            files[body.splitlines()[0].removeprefix("# ")] = body
        elif kind == "diff":
            for part in re.split(r"^--- ", body, flags=re.MULTILINE)[1:]:
                path, _, hunks = part.partition("\n")
                changes[path] = changes.get(path, "") + "@@\n" + hunks
    return files, changes


def changed(text: str, hunks: str) -> str:
    """`text` with the hunks applied, each of which must fit at one place."""
    for hunk in re.split(r"^@@\n", hunks, flags=re.MULTILINE):
        lines = hunk.splitlines(keepends=True)
        old = "".join(line[1:] for line in lines if line[0] in " -")
        new = "".join(line[1:] for line in lines if line[0] in " +")
        if lines:
            assert text.count(old) == 1, f"fits {text.count(old)} places:\n{hunk}"
            text = text.replace(old, new)
    return text


def write_copy(folder: Path) -> list[Path]:
    """A copy of detkit with all examples in it; the paths of their tests."""
    files, changes = examples()
    shutil.copytree(REPOSITORY / "detkit", folder / "detkit", ignore=shutil.ignore_patterns("__pycache__"))
    (folder / "configs").symlink_to(REPOSITORY / "configs")
    for path, body in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(body)
    for path, hunks in changes.items():
        (folder / path).write_text(changed((folder / path).read_text(), hunks))
    return [folder / path for path in files if Path(path).name.startswith("test_")]


@contextmanager
def imported_from(folder: Path) -> Iterator[None]:
    """detkit is the package in `folder`, afterwards again what it was."""

    def ours() -> dict[str, types.ModuleType]:
        return {name: m for name, m in sys.modules.items() if name == "detkit" or name.startswith("detkit.")}

    before = ours()
    for name in before:
        del sys.modules[name]
    sys.path.insert(0, str(folder))
    try:
        yield
    finally:
        sys.path.remove(str(folder))
        for name in ours():
            del sys.modules[name]
        sys.modules.update(before)


def test_the_worked_examples_fit_the_code_and_pass_their_tests(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    copy = tmp_path / "copy"
    paths = write_copy(copy)
    monkeypatch.chdir(copy)
    ran = 0
    with imported_from(copy):
        for path in paths:
            module = types.ModuleType(path.stem)
            exec(compile(path.read_text(), path, "exec"), module.__dict__)
            for name, test in vars(module).items():
                if name.startswith("test_"):
                    for number, arguments in enumerate(cases(test)):
                        folder = tmp_path / f"{path.stem}-{name}-{number}"
                        folder.mkdir()
                        wants_folder = "tmp_path" in test.__code__.co_varnames[: test.__code__.co_argcount]
                        test(**arguments, **({"tmp_path": folder} if wants_folder else {}))
                        ran += 1
    assert ran > 15


def cases(test: object) -> list[dict[str, object]]:
    """The arguments of each case of a test function, as its one parametrize has them."""
    marks = getattr(test, "pytestmark", [])
    if not marks:
        return [{}]
    [mark] = marks
    names, rows = mark.args
    return [dict(zip(names, row, strict=True)) for row in rows]
