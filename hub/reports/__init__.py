"""Reports: one file for each, made from what is read elsewhere; they have no way to the database."""
