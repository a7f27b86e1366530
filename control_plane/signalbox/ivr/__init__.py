"""The voice workers: they execute the nodes of call flows that speak and listen."""
