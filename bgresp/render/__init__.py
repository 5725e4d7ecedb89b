"""Show: answers on stdout, talk on stderr. May import core; knows no engine."""
