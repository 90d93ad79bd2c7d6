"""Figures and pages of the reports."""
