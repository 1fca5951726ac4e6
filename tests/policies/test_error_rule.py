"""A rule made of types is about an error if they match it, or each leaf of the group that it is."""

from __future__ import annotations

import sys

from hypothesis import given
from hypothesis import strategies as st

from trio_pool._basics.exceptions import leaves
from trio_pool._policies.error_rule import matches

if sys.version_info < (3, 11):
    from exceptiongroup import ExceptionGroup


NESTED = st.recursive(
    st.sampled_from([ValueError(), KeyError(), OSError()]).map(lambda error: [error]),
    lambda parts: st.lists(parts, min_size=1, max_size=3).map(
        lambda lists: [ExceptionGroup("", [error for found in lists for error in found])]
    ),
)


@given(NESTED)
def test_types_match_a_group_exactly_if_they_match_all_its_leaves(found: list[Exception]) -> None:
    (error,) = found
    assert matches(error, (ValueError, OSError)) is not any(isinstance(leaf, KeyError) for leaf in leaves(error))
