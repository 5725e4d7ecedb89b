"""Act: submit, follow, cancel. May import core, ledger, config and api."""
