"""Users of Locust: callers, who ask for decisions, and who changes rules."""
