import re
import subprocess
import sys
from pathlib import Path

from tdmlib.claims import read_claims

ROOT = Path(__file__).parents[1]
CLAIMS = read_claims()


def test_every_claim_has_one_id_and_an_anchor_in_its_chapter():
    assert len({claim["id"] for claim in CLAIMS}) == len(CLAIMS)
    for claim in CLAIMS:
        source = (ROOT / f"chapters/{claim['chapter']}.md").read_text(encoding="utf-8")
        anchor = re.escape(claim["anchor"])
        assert re.search(rf"(:label: |name: |\(){anchor}(\)=)?\s*$", source, re.M), claim["id"]


def test_every_check_of_every_claim_runs_and_passes():
    checks = sorted({check for claim in CLAIMS for check in claim["check"]})
    run = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-rs", "-p", "no:cacheprovider", *checks],
        cwd=ROOT, capture_output=True, text=True,
    )  # fmt: skip
    assert run.returncode == 0, run.stdout
    assert "skipped" not in run.stdout
