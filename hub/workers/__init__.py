"""Long-running processes beside the serving ones."""
