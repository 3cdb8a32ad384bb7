"""Damage to files, for tests of their readers."""

from hypothesis import given
from hypothesis import strategies as st

# Calls a test with `start` and `length` of a stretch of bytes, and `new` ones to put in its place.
replaced_stretches = given(
    start=st.integers(0, 2**16),
    length=st.integers(0, 40),
    new=st.one_of(
        st.binary(max_size=40),
        st.sampled_from([b"null", b"-1", b"1e999", b"[]", b"{}", b'"', b"9" * 400, b"\\ud800"]),
    ),
)
