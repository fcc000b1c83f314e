"""Partner files become records, as a mapping file says: pure, no database, no settings, no clock of its own."""
