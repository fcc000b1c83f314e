"""`hub witness`: a partner's watch over the log of a hub. It needs nothing of the hub but its public pages, and nothing of its code but the
tree, the notes and private files.
"""
