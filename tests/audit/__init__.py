"""The audit log: its leaves, its tree, who may read it, and that nothing happens without it."""
