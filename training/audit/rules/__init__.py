"""The rules of the audit, one module for one subject."""
