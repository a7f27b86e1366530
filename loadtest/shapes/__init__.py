"""Shapes: how many users there are at each moment. A file each, for Locust takes them as files."""
