"""Act: submit, follow, cancel."""
