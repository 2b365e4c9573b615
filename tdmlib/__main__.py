"""`python -m tdmlib` is `tdm`."""

from tdmlib.cli import main

main()
