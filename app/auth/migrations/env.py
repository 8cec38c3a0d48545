"""Alembic's environment: it runs the migrations on the given connection, in its transaction."""

from alembic import context

from app.auth.tables import VERSION_TABLE, metadata

context.configure(
    connection=context.config.attributes["connection"], target_metadata=metadata, version_table=VERSION_TABLE
)
context.run_migrations()
