"""The disk: journal, responses, requests, progress, locks.

The only package that writes below the state folder (the local endpoint's own folder
apart).
"""
