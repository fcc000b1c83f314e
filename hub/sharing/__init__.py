"""The two flows, publish and query, once for all datasets."""
