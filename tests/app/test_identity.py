from app.identity import ANONYMOUS, RANK, ROLES


def test_each_role_may_do_what_those_before_it_may():
    assert sorted(ROLES, key=RANK.__getitem__) == ["read-only", "user", "admin"]


def test_without_authentication_nobody_administers():
    assert RANK["user"] <= RANK[ANONYMOUS.role] < RANK["admin"]
