"""What a recording was made of, and which attempts may have left something."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Add the columns. Of what was stored before it is not known what it was made of."""
    op.add_column("recordings", sa.Column("capture", sa.LargeBinary))
    for name in ("kept", "tidied"):
        op.add_column("recordings", sa.Column(name, sa.BigInteger, nullable=False, server_default=sa.text("0")))
