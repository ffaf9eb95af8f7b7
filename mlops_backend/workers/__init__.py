"""Several processes that are one service: a parent, its workers, and what they say to each other."""
