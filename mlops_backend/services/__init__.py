"""What the routes call: inference in `llm`, everything else in `other`."""
