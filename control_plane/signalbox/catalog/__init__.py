"""Which recordings there are: the database that recorders write and provisioning reads."""
