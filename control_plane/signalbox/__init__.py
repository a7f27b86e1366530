"""Signalbox: the routing cluster for service numbers."""

import os

# No process goes on with gRPC in a child that it forks: children are other programs. Without this, gRPC halts its
# threads at every fork, in vain where others are in calls, and a stream with TLS may break then.
os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")
