import pytest

from app.identity import ANONYMOUS, RANK, ROLES, Identity, is_collection_pattern


def test_each_role_may_do_what_those_before_it_may():
    assert sorted(ROLES, key=RANK.__getitem__) == ["read-only", "user", "admin"]


def test_without_authentication_nobody_administers():
    assert RANK["user"] <= RANK[ANONYMOUS.role] < RANK["admin"]


@pytest.mark.parametrize(
    ("collections", "name", "seen"),
    [
        (None, "birds", True),
        ((), "birds", False),
        (("birds",), "birds", True),
        (("birds",), "birds2", False),
        (("birds",), "Birds", False),
        (("team-a-*",), "team-a-", True),
        (("team-a-*",), "team-a-notes", True),
        (("team-a-*",), "team-a", False),
        (("team-a-*",), "my-team-a-notes", False),
        (("t.am*",), "team", False),
        (("a", "team-*"), "team-b", True),
        (("*",), "birds", True),
    ],
)
def test_a_pattern_is_a_name_or_the_beginning_of_names(collections, name, seen):
    assert Identity("ada", "user", "public", collections=collections).may_see(name) is seen


@pytest.mark.parametrize("pattern", ["*", "birds", "team-a-*", "über.1_2-*", "x" * 64, "x" * 64 + "*"])
def test_a_pattern_is_taken(pattern):
    assert is_collection_pattern(pattern)


@pytest.mark.parametrize(
    "wrong", ["", "**", "a*b", "*a", "a b", "a/b", "a\n", "\n", "a?", "[a]", "x" * 65, "x" * 65 + "*"]
)
def test_what_is_no_pattern_is_not_taken(wrong):
    assert not is_collection_pattern(wrong)
