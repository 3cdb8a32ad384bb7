"""Checks of shapes, dtypes and ranges, with their messages."""
