"""The cluster on one machine: starts every process on loopback, makes calls through it, measures it."""
