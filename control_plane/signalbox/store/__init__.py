"""Rules and live nodes in etcd, with an in-memory twin."""
