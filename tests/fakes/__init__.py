"""Stand-ins for the servers around the service: real sockets, scripted behaviour."""
