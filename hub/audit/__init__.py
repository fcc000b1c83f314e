"""The audit log: leaves, their tree, and the one way in."""
