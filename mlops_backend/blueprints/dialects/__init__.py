"""Drop-in routes: those of Ollama, OpenAI and Anthropic, unchanged."""
