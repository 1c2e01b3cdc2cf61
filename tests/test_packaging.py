"""One list of dependencies, and nothing beside it says otherwise."""

import ast
import re
import sys
import tomllib
from importlib.metadata import distributions, version
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

import rflav_lib

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
CONSTRAINTS = (ROOT / "constraints.txt").read_text(encoding="utf-8")
ENVIRONMENT = yaml.safe_load((ROOT / "environment.yml").read_text(encoding="utf-8"))
REQUIREMENTS = [
    Requirement(text) for text in [*PROJECT["dependencies"], *PROJECT["optional-dependencies"]["dev"]]
]
EXTRAS = PROJECT["optional-dependencies"]
OPTIONAL = [Requirement(text) for text in [*EXTRAS["browser"], *EXTRAS["yamnet"]]]


def pins(text: str) -> dict[str, str]:
    """Name and version of each line of a constraints file.

    Raises:
        ValueError: a line that is no exact pin, such as a path, an address or an option.
    """
    found = {}
    for line in text.splitlines():
        if line and not line.startswith("#"):
            match = re.fullmatch(r"([a-z0-9][a-z0-9-]*)==([0-9][0-9a-z.]*)", line)
            if match is None:
                raise ValueError(f"constraints.txt: {line!r} is not 'name==version'")
            found[match[1]] = match[2]
    return found


def environment_problems(environment: dict, project: dict) -> list[str]:
    """In what environment.yml asks for anything else than pyproject.toml does."""
    plain = [entry for entry in environment["dependencies"] if isinstance(entry, str)]
    sections = [entry["pip"] for entry in environment["dependencies"] if isinstance(entry, dict)]
    problems = []
    python = [entry.removeprefix("python").strip() for entry in plain if entry.startswith("python")]
    if [SpecifierSet(text) for text in python] != [SpecifierSet(project["requires-python"])]:
        problems.append(f"python {python} is not {project['requires-python']}")
    if others := [entry for entry in plain if not entry.startswith("python") and entry != "pip"]:
        problems.append(f"conda would install {others}, which pyproject.toml does not name")
    if "pip" not in plain or sections != [["-c constraints.txt", "-e .[dev]"]]:
        problems.append(
            f"pip's section is {sections}; it must install this package with its pins, and nothing else"
        )
    return problems


def test_environment_yml_asks_for_what_pyproject_names():
    assert environment_problems(ENVIRONMENT, PROJECT) == []


@pytest.mark.parametrize(
    ("dependencies", "expected"),
    [
        (["python >=3.11", "pip", {"pip": ["-c constraints.txt", "-e .[dev]"]}], "python"),
        (["python >=3.11,<3.13", "pip", "numpy", {"pip": ["-c constraints.txt", "-e .[dev]"]}], "numpy"),
        (["python >=3.11,<3.13", "pip", {"pip": ["-e .[dev]"]}], "pip's section"),
        (["python >=3.11,<3.13", "pip", {"pip": ["-c constraints.txt", "-e .[dev]", "torch"]}], "torch"),
    ],
)
def test_a_second_list_is_noticed(dependencies, expected):
    (problem,) = environment_problems({"dependencies": dependencies}, PROJECT)
    assert expected in problem


@pytest.mark.parametrize("requirement", [*REQUIREMENTS, *OPTIONAL], ids=lambda requirement: requirement.name)
def test_every_dependency_is_pinned_to_a_version_it_allows(requirement):
    pinned = pins(CONSTRAINTS).get(canonicalize_name(requirement.name))
    assert pinned is not None, f"{requirement.name} has no pin in constraints.txt"
    assert requirement.specifier.contains(pinned), f"{requirement} forbids the pinned {pinned}"


@pytest.mark.parametrize("requirement", REQUIREMENTS, ids=lambda requirement: requirement.name)
def test_what_is_installed_is_what_is_pinned(requirement):
    pinned = pins(CONSTRAINTS)[canonicalize_name(requirement.name)]
    assert version(requirement.name).split("+")[0] == pinned, "run `make setup`, or renew constraints.txt"


@pytest.mark.parametrize("python", ["3.11.0", "3.12.0"])
def test_pinned_versions_take_the_first_release_of_each_python(python):
    """Debian 12 has 3.11.2: a pin that asks for 3.11.5 would leave its users with nothing."""
    pinned = pins(CONSTRAINTS)
    here = [each for each in distributions() if pinned.get(canonicalize_name(each.name)) == each.version]
    refusing = [
        f"{each.name}=={each.version} needs Python {each.metadata['Requires-Python']}"
        for each in here
        if not SpecifierSet(each.metadata["Requires-Python"] or "").contains(python)
    ]
    assert len(here) > 100 and refusing == []


@pytest.mark.parametrize(
    "line", ["torch @ file:///x.whl", "numpy>=2", "--index-url https://x", "torch==2.11.0+cpu"]
)
def test_constraints_hold_exact_pins_alone(line):
    with pytest.raises(ValueError, match="is not 'name==version'"):
        pins(line)


def imported_names(source: str) -> set[str]:
    """Top-level packages that a module imports, anywhere in it."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            found.add(node.module.split(".")[0])
    return found


def test_every_third_party_import_of_the_library_is_a_named_dependency():
    named = {canonicalize_name(requirement.name) for requirement in [*REQUIREMENTS, *OPTIONAL]}
    # part of what matplotlib, jupyterlab and diffusers are
    named |= {"cycler", "ipython", "tqdm", "traitlets"}
    distribution = {"yaml": "pyyaml", "PIL": "pillow", "IPython": "ipython"}
    sources = sorted((ROOT / "rflav_lib").rglob("*.py"))
    imported = set().union(*(imported_names(path.read_text(encoding="utf-8")) for path in sources))
    foreign = imported - sys.stdlib_module_names - {"rflav_lib"}
    assert {"torch", "einops"} <= foreign, "the search finds what is there"
    assert {canonicalize_name(distribution.get(name, name)) for name in foreign} - named == set()


def test_version_and_python():
    assert version("rflav-lab") == rflav_lib.__version__
    assert SpecifierSet(PROJECT["requires-python"]).contains(f"{sys.version_info[0]}.{sys.version_info[1]}")


def test_root_is_the_checkout():
    assert rflav_lib.ROOT == ROOT, "installed editable, so that notebooks find configs and checkpoints"
