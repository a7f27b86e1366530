"""For all tests: how properties are tried out, and what gRPC is told before anybody loads it."""

import os

import signalbox  # noqa: F401, sets what gRPC reads
from hypothesis import HealthCheck, settings

# A busy machine is no failure, and a run can be repeated: the same examples each time, until a test is changed. Others
# every time with FUZZ=1 in the environment.
settings.register_profile(
    "signalbox",
    deadline=None,
    derandomize="FUZZ" not in os.environ,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("signalbox")
