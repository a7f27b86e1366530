"""The sidecar of an rtpengine."""
