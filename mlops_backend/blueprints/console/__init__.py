"""The console: its pages, and what only they need. Imported where `CONSOLE_ENABLED` only."""
