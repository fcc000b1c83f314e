"""What PostgreSQL itself and the read flow promise against a reader, each with a control that breaks the promise."""
