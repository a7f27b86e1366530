"""The routing service: rules in memory, decisions over gRPC."""
