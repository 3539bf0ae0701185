"""Deprecated names work, warn where they are called, and say what to write and until when."""

import warnings

import pytest

import jaxlqr
from jaxlqr.deprecation import renamed_argument, renamed_function


def new_name(x, *, scale=1.0):
    return x * scale


old_name = renamed_function("old_name", new_name, since="0.2", removal="1.0")


@renamed_argument("factor", "scale", since="0.2.1", removal="0.4")
def scaled(x, scale=1.0):
    """Documented."""
    return x * scale


def test_an_old_function_works_and_warns_in_the_line_of_its_caller():
    with pytest.warns(
        DeprecationWarning, match=r"^old_name is deprecated since jaxlqr 0\.2 .* removed in 1\.0; use new_name\.$"
    ) as caught:
        assert old_name(3.0, scale=2.0) == 6.0
    assert caught[0].filename == __file__
    assert old_name.__name__ == "old_name"
    assert "use :func:`new_name`" in (old_name.__doc__ or "")


def test_an_old_argument_works_and_warns_in_the_line_of_its_caller():
    with pytest.warns(
        DeprecationWarning, match=r"^argument factor of scaled .* 0\.2\.1 .* 0\.4; use scale\.$"
    ) as caught:
        assert scaled(3.0, factor=2.0) == 6.0
    assert caught[0].filename == __file__
    assert scaled.__doc__ == "Documented."


def test_new_names_do_not_warn():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert (new_name(3.0, scale=2.0), scaled(3.0, 2.0), scaled(3.0, scale=2.0)) == (6.0, 6.0, 6.0)


def test_old_and_new_argument_together_are_refused():
    with pytest.raises(TypeError, match="got both factor, which is deprecated, and scale"):
        scaled(3.0, factor=2.0, scale=2.0)


@pytest.mark.parametrize(
    ("since", "removal", "message"),
    [
        ("soon", "1.0", "since must be a version"),
        ("0.4", "0.4.0", "removal must be a later version"),
        ("0.10", "0.9", "later"),
    ],
)
def test_versions_are_checked_where_the_name_is_deprecated(since, removal, message):
    with pytest.raises(ValueError, match=message):
        renamed_function("old", new_name, since=since, removal=removal)
    with pytest.raises(ValueError, match=message):
        renamed_argument("old", "new", since=since, removal=removal)


def test_the_version_is_semantic():
    assert len(jaxlqr.__version__.split(".")) == 3
    assert all(part.isdigit() for part in jaxlqr.__version__.split("."))
