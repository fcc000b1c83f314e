"""Who is asking, and for which purpose: organisations, their clients, and access tokens (docs/decisions/0009).

A token never says what its bearer may see; grants are looked up at each query.
"""
