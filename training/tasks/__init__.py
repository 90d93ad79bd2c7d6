"""The same work on many things at once: here, in local processes, or on a cluster."""
