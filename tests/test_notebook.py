from tdmlib.linear import symbolic
from tdmlib.notebook import show_identities, show_source


def test_source_is_shown_as_it_stands_in_the_library():
    text = show_source(symbolic.merge_identity).data
    assert text.startswith("```python\ndef merge_identity()")
    assert text.endswith("```")


def test_identities_are_display_formulas():
    text = show_identities(symbolic.merge_identity()).data
    assert text.count("$$") == 4
    assert r"\gamma" in text
