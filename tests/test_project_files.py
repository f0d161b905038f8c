"""Files of the project that no code reads: Dockerfile, citation, templates of issues."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

REPOSITORY = Path(__file__).parent.parent
DOCKERFILE = (REPOSITORY / "Dockerfile").read_text()
TEMPLATES = sorted((REPOSITORY / ".github" / "ISSUE_TEMPLATE").glob("*.yml"))


def read(path: Path) -> Any:
    return yaml.safe_load(path.read_text())


def test_the_dockerfile_sets_up_by_targets_of_the_makefile() -> None:
    targets = set(re.findall(r"^([\w-]+):(?!=)", (REPOSITORY / "Makefile").read_text(), re.MULTILINE))
    called = re.findall(r"(?:^RUN|&&) make ([\w-]+)", DOCKERFILE, re.MULTILINE)
    assert called == ["setup"]
    assert set(called) <= targets


def test_the_dockerfile_copies_what_the_makefile_needs_and_leaves_root() -> None:
    ignored = (REPOSITORY / ".dockerignore").read_text().split()
    assert not {"Makefile", "pyproject.toml", "requirements.lock", "detkit", "configs", "README.md"} & set(ignored)
    users = re.findall(r"^USER (\w+)$", DOCKERFILE, re.MULTILINE)
    assert users == ["detector"]
    assert DOCKERFILE.index("USER detector") < DOCKERFILE.index("make setup")


def test_a_detkit_is_what_the_image_runs() -> None:
    assert re.search(r'^ENTRYPOINT \["detkit"\]$', DOCKERFILE, re.MULTILINE)
    assert "/opt/detkit/.venv/bin:$PATH" in DOCKERFILE


def test_the_citation_is_whole() -> None:
    citation = read(REPOSITORY / "CITATION.cff")
    project = (REPOSITORY / "pyproject.toml").read_text()
    assert citation["cff-version"] == "1.2.0"
    assert f'version = "{citation["version"]}"' in project
    assert f'license = "{citation["license"]}"' in project
    assert len(citation["references"]) == 11
    for paper in citation["references"]:
        assert {"type", "title", "authors", "year"} <= set(paper), paper
        assert all({"family-names", "given-names"} <= set(author) for author in paper["authors"]), paper
        assert paper["type"] in ("article", "conference-paper")
        assert ("journal" if paper["type"] == "article" else "collection-title") in paper
        assert re.fullmatch(r"10\.\d{4,}/\S+", paper.get("doi", "10.1000/none"))


@pytest.mark.parametrize("template", TEMPLATES, ids=lambda path: path.stem)
def test_templates_of_issues_are_forms(template: Path) -> None:
    form = read(template)
    assert {"name", "description", "body"} <= set(form)
    ids = [field["id"] for field in form["body"]]
    assert len(ids) == len(set(ids))
    assert all(field["type"] == "textarea" and field["attributes"]["label"] for field in form["body"])
    assert any(field.get("validations", {}).get("required") for field in form["body"])


def test_bug_feature_and_question_have_a_form() -> None:
    assert [path.stem for path in TEMPLATES] == ["bug", "feature", "question"]


def test_the_package_says_that_it_has_types() -> None:
    assert (REPOSITORY / "detkit" / "py.typed").read_bytes() == b""


@pytest.mark.parametrize("script", sorted((REPOSITORY / "findings").glob("*.sh")), ids=lambda path: path.stem)
def test_a_finding_is_told_with_the_versions_it_runs(script: Path) -> None:
    lines = (REPOSITORY / "findings" / "README.md").read_text().splitlines()
    row = next(line for line in lines if f"({script.name})" in line)
    told = re.findall(r"([\w-]+) (\d+(?:\.\d+)+)", row.split("|")[2].lower())
    pinned = dict(re.findall(r"([\w-]+)==([\w.]+)", script.read_text()))
    assert told
    assert all(pinned[package].startswith(version) for package, version in told)
    assert script.stat().st_mode & 0o111
