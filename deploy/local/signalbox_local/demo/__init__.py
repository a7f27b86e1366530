"""``make demo``: real calls through a real cluster, a rule change and a killed replica under load."""
