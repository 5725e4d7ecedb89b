"""Speak to one endpoint; the only package that knows HTTP."""
