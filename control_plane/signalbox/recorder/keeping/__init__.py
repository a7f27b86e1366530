"""What is promised and what is there: whether every promise is kept."""
