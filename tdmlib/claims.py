"""The claims that the book checks, from data/claims.yaml."""

from tdmlib.errors import InputError
from tdmlib.resources import folder

STATUSES = (
    "verified",
    "verified at reduced scale",
    "does not hold here",
    "needs pretrained weights",
)
FIELDS = {"id", "statement", "source", "chapter", "anchor", "check", "tolerance", "status"}


def read_claims() -> list[dict]:
    """All claims in their order. Raises InputError for a row with missing fields or no check."""
    import yaml

    claims = yaml.safe_load((folder("data") / "claims.yaml").read_text(encoding="utf-8"))
    for claim in claims:
        if not FIELDS <= set(claim) or claim["status"] not in STATUSES or not claim["check"]:
            raise InputError(f"claim {claim.get('id')!r} is incomplete: it needs {sorted(FIELDS)}")
    return claims
