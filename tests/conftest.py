import os
import signal
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from tdmlib.claims import read_claims

sys.path.insert(0, str(Path(__file__).parent))  # tests share `strategies`
for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"):  # sums repeat only at a fixed thread count
    os.environ.setdefault(name, "1")
# A suite in the background ignores Ctrl-C, and so would the commands that the tests stop by it.
signal.signal(signal.SIGINT, signal.default_int_handler)
# No limits on time: a busy machine is not a fault of the mathematics.
settings.register_profile(
    "default", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("default")

CHECKS = {check for claim in read_claims() for check in claim["check"]}


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item):
    """A claim is verified by a check that ran: to skip it, or to let it fail, is a failure."""
    report = yield
    if report.skipped and CHECKS & {item.nodeid, item.nodeid.partition("[")[0]}:
        report.outcome, report.longrepr = "failed", "the check of a claim must run"
    return report
