"""Run by alembic: applies the steps on the connection that it is given, in its transaction."""

from __future__ import annotations

from alembic import context

settings = context.config.attributes
context.configure(connection=settings["connection"], version_table=settings["version_table"])
context.run_migrations()
