"""Helpers shared by the tests: real servers, load, and checks of what was heard."""
