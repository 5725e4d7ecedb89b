"""Speak to one endpoint; of the client the only package that knows HTTP."""
