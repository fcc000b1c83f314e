"""Tests of the witness: what it cosigns, and what it never does."""
