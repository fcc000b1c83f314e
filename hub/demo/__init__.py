"""A hub with real open data, real MOUs, and partners to ask as."""
