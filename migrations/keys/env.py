"""Alembic runs inside the connection that `hub.db.migrate` hands over; see CONTRIBUTING.md for how a migration is added."""

from alembic import context

context.configure(connection=context.config.attributes["connection"], version_table="keys_version", version_table_schema="public")
with context.begin_transaction():
    context.run_migrations()
