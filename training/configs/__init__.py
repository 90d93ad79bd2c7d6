"""Typed configurations of the training commands."""
