"""Signalbox: the routing cluster for service numbers."""
