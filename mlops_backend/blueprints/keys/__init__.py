"""Routes of keys: the administrator's, and one's own."""
