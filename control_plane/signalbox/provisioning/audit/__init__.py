"""The audit log: what is recorded of changes and refusals, where it waits, where it is kept, and who may read it."""
