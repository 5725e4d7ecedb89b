"""The command line: one verb a file; everything is wired here."""
