"""Who is asking, and for which purpose: organisations, their clients, and access tokens (DESIGN §8).

A token never says what its bearer may see; grants are looked up at each query.
"""
