import re
from pathlib import Path

import pytest

from tdmlib.claims import read_claims

ROOT = Path(__file__).parents[1]
CLAIMS = read_claims()


def test_every_claim_has_one_id_and_an_anchor_in_its_chapter():
    assert len({claim["id"] for claim in CLAIMS}) == len(CLAIMS)
    for claim in CLAIMS:
        source = (ROOT / f"chapters/{claim['chapter']}.md").read_text(encoding="utf-8")
        anchor = re.escape(claim["anchor"])
        assert re.search(rf"(:label: |name: |\(){anchor}(\)=)?\s*$", source, re.M), claim["id"]


def test_every_check_of_every_claim_is_a_test(request: pytest.FixtureRequest):
    """Of those files that this run takes in: all, in a run of the whole suite."""
    run = {item.nodeid for item in request.session.items}
    run |= {name.partition("[")[0] for name in run}
    files = {name.partition("::")[0] for name in run}
    for claim in CLAIMS:
        for check in claim["check"]:
            file = check.partition("::")[0]
            assert (ROOT / file).is_file(), claim["id"]
            assert file not in files or check in run, claim["id"]
