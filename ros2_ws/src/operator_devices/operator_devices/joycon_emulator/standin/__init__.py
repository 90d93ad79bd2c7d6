"""Folder of the stand-in for the hidapi library; see `hid.py`."""
