"""The subcommands of the ``signalbox`` command."""
