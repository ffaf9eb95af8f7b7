"""Wire formats: frames, usage and errors of each, and translation between them."""
