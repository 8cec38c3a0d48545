import pytest

from app.identity import ANONYMOUS, ROLES, Identity


@pytest.mark.parametrize(("held", "may"), [("read-only", 1), ("user", 2), ("admin", 3)])
def test_each_role_may_do_what_those_before_it_may(held, may):
    assert [Identity("x", held, "public").may(role) for role in ROLES] == [True] * may + [False] * (3 - may)


def test_without_authentication_nobody_administers():
    assert ANONYMOUS.may("user")
    assert not ANONYMOUS.may("admin")
