"""The completion scripts of four shells, made from the command tree."""
