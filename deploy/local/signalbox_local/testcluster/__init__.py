"""``make test-cluster``: a cluster on Kubernetes under calls while it is upgraded, killed and lost.

``switch`` plays the carrier's switch, ``calls`` and ``tally`` the callers, the lines and what became of each call,
``load`` the process that they run in; ``kube`` works on the cluster; ``steps`` is what is done to it, ``main`` does it.
"""
