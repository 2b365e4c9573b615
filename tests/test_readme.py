"""The README's example does what its comments say."""

import re
from pathlib import Path

README = Path(__file__).resolve().parents[1] / "README.md"


def test_the_example_prints_what_its_comments_say(capsys):
    code = re.search(r"```python\n(.*?)```", README.read_text("utf-8"), re.DOTALL)[1]
    names = {}
    exec(code, names)
    error, *_, last = capsys.readouterr().out.splitlines()
    assert f"# {float(error):.3g}\n" in code and last.endswith("True")
    assert [(i, j) for i, j, k in names["best"].plan.nodes() if k] == [(1, 32), (0, 32)]
