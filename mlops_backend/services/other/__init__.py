"""Everything that is not inference."""
