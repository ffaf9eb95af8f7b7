"""The response cache: which calls have one answer, and keeping what that was."""
