"""Recordings of calls: finding, fetching, holding and deleting them, and pausing those that are being made."""
