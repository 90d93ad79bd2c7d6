"""Looking after a set of episodes: edits that can be undone, statistics, drift, card."""
