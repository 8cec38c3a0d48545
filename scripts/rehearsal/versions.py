"""A version to come: this one with one migration more."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

from app.auth.migrations import HEAD as NOW
from scripts.rehearsal.place import Place
from scripts.wheel.build import copy_sources

__all__ = ["NEXT", "NOW", "install_next"]

NEXT = f"{int(NOW) + 1:04d}"
_MIGRATION = f'''"""A column more, as a version to come may want it."""

import sqlalchemy as sa
from alembic import op

revision = "{NEXT}"
down_revision = "{NOW}"


def upgrade() -> None:
    """Add it."""
    op.add_column("qrerank_keys", sa.Column("note", sa.String(128)))
'''


def install_next(place: Place, folder: Path) -> Place:
    """The version to come, in a folder of its own, with the environment of another place."""
    copy_sources(folder)
    (folder / ".venv").symlink_to((place.folder / ".venv").resolve())
    migrations = folder / "app" / "auth" / "migrations"
    text = (migrations / "__init__.py").read_text(encoding="utf-8")
    text, found = re.subn(r'^HEAD = "\d{4}"$', f'HEAD = "{NEXT}"', text, flags=re.MULTILINE)
    if found != 1:
        raise RuntimeError("app/auth/migrations says its HEAD in another way; the rehearsal must learn it")
    (migrations / "__init__.py").write_text(text, encoding="utf-8")
    (migrations / "versions" / f"v{NEXT}_rehearsed.py").write_text(_MIGRATION, encoding="utf-8")
    return replace(place, folder=folder).given(PYTHONPATH=folder)  # found before what is installed
