"""The routes, over real sockets."""
