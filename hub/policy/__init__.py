"""MOU files, conditions and treatments: pure, no database, no clock of its own."""
