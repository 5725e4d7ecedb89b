"""The local endpoint: a real background-mode Responses server on loopback.

Knows nothing of the client.
"""
