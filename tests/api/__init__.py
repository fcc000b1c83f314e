"""HTTP: what goes in, what comes out, what is refused."""
