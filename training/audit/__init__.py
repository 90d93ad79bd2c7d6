"""Judging recorded episodes: rules, measures, scores and the report."""
