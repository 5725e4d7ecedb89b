"""bgresp: submit, keep and collect background jobs of Responses-like endpoints."""

__version__ = "0.1.0"
