"""What decides a call: pure rules, no I/O, never awaits."""
