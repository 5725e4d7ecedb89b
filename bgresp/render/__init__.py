"""Show: answers on stdout, talk on stderr."""
