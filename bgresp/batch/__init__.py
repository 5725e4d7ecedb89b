"""Many requests from one manifest: resumable, sharded. May import engine and below."""
