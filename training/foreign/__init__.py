"""Recordings that others made: mapped by the names of their columns, imported as episodes."""
