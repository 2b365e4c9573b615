import os
import sys
from pathlib import Path

from hypothesis import HealthCheck, settings

sys.path.insert(0, str(Path(__file__).parent))  # tests share `strategies`
for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"):  # sums repeat only at a fixed thread count
    os.environ.setdefault(name, "1")
# No limits on time: a busy machine is not a fault of the mathematics.
settings.register_profile(
    "default", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("default")
