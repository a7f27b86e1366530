"""What callers do, and how many there are: pure, and the same for the same seed."""
