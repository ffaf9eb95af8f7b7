"""The trial: what a careless or hostile party does to the built service, and that nobody else feels it."""
