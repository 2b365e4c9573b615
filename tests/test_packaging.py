"""pyproject.toml, constraints.txt, environment.yml and the Makefile say the same."""

import re
import tomllib
from importlib.metadata import version
from itertools import chain
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement

from tdmlib import __version__

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRAS = PROJECT["optional-dependencies"]
PINS = {
    Requirement(line).name.lower(): Requirement(line)
    for line in (ROOT / "constraints.txt").read_text().splitlines()
}


def test_environment_installs_every_extra_under_the_constraints():
    dependencies = yaml.safe_load((ROOT / "environment.yml").read_text())["dependencies"]
    (pip,) = (d["pip"] for d in dependencies if isinstance(d, dict))
    assert pip[0] == "-c constraints.txt"
    extras = re.fullmatch(r"-e \.\[(.*)\]", pip[1])[1].split(",")
    assert set(extras) == set(EXTRAS)
    (python,) = (d for d in dependencies if str(d).startswith("python="))
    assert Requirement(f"python{PROJECT['requires-python']}").specifier.contains(
        python.removeprefix("python=") + ".0"
    )


def test_the_makefile_installs_the_same():
    command = re.search(
        r"install.*-c constraints.txt -e '\.\[(.*?)\]'", (ROOT / "Makefile").read_text()
    )
    assert set(command[1].split(",")) == set(EXTRAS)


@pytest.mark.parametrize("extra", [None, *EXTRAS])
def test_every_dependency_is_pinned_compatibly(extra):
    for text in EXTRAS.get(extra, PROJECT["dependencies"]):
        requirement = Requirement(text)
        pin = PINS[requirement.name.lower()]
        (pinned,) = pin.specifier
        assert pinned.operator == "=="
        assert requirement.specifier.contains(pinned.version)
        assert version(requirement.name).split("+")[0] == pinned.version


def test_torch_is_pinned_and_torchvision_absent():
    assert str(PINS["torch"].specifier) == "==2.13.0"
    assert "torch==2.13.0" in EXTRAS["distill"]
    assert not any("torchvision" in text for text in chain(PINS, *EXTRAS.values()))


def test_versions_agree():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert citation["version"] == __version__
    assert f"## {__version__}" in (ROOT / "CHANGELOG.md").read_text()
