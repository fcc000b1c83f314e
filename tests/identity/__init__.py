"""Who may have a token, and which tokens are believed."""
