"""The inventory: ranges and classes of numbers, the life of each number, and the search for free ones."""
