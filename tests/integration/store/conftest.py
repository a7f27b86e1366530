"""Real etcd servers for these tests."""

from support.etcd import etcd_cluster, etcd_server, own_etcd  # noqa: F401  (fixtures)
