"""Tools of the repository itself: locks and environments. Nothing here is part of the service."""
