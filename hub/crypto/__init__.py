"""Field-level encryption: `envelope` (pure formats), `providers` (root keys), `keyring` (KEKs, DEKs, their store)."""
