"""The history of pulls: an SQLite file in the state directory, kept by the daemon, read by all."""
