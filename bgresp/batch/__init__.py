"""Many requests from one manifest: resumable, sharded."""
