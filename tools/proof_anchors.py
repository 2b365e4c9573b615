"""A Sphinx extension: a label before a proof is where links to it end.

sphinx-proof writes no mark for the label, and gives all proofs of a page the id "proof".
"""

from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx_proof.nodes import proof_node


def move_labels(app: Sphinx, doctree: nodes.document) -> None:
    for proof in doctree.findall(proof_node):
        proof[0]["ids"] = proof["ids"]  # of the box that it wraps, the only part that is written


def setup(app: Sphinx) -> dict[str, Any]:
    app.connect("doctree-read", move_labels)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
