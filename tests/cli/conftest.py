import numpy as np
import pytest

from tdmlib.cli import main


@pytest.fixture
def tdm(capfd, tmp_path, monkeypatch):
    """Run `tdm` in this process, in an empty folder: (exit status, stdout, stderr)."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments):
        with pytest.raises(SystemExit) as stop:
            main(list(arguments))
        assert np.float64(5e-324) * np.float64(1) > 0  # no command leaves denormals flushed
        return stop.value.code or 0, *capfd.readouterr()

    return run
