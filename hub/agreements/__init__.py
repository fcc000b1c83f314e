"""The MOU store: what is in force, and how it comes into force."""
