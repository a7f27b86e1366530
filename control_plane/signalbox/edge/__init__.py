"""The sidecar of a Kamailio proxy."""
