"""Watches a cell from outside its devices: emergency stop, diagnostics, readiness."""
