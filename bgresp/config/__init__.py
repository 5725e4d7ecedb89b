"""Configuration: where it lies, what it says, which source wins."""
