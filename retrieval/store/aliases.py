"""Aliases: other names of collections. Each is a symbolic link beside the collections, to the plain name of one."""

from __future__ import annotations

import secrets
from pathlib import Path

from retrieval.errors import CollectionError


def target(folder: Path, name: str) -> str:
    """Return the name of the collection that a name leads to: itself, unless it is an alias.

    folder: of all collections.

    Raises:
        CollectionError: It leads to another alias, or out of the folder.
    """
    try:
        found = (folder / name).readlink()
    except OSError:  # it is no link, or there is nothing
        return name
    if str(found) != found.name or found.name.startswith(".") or (folder / found).is_symlink():
        raise CollectionError(f"the alias {name} leads to no collection of this folder; set it again")
    return found.name


def aliases(folder: Path) -> dict[str, str]:
    """Return the collection of each alias, by name. An alias that leads to none is left out."""
    try:
        links = sorted(path.name for path in folder.iterdir() if path.is_symlink() and path.name[0] != ".")
    except FileNotFoundError:
        return {}
    found = {}
    for name in links:
        try:
            collection = target(folder, name)
        except CollectionError:
            continue
        if (folder / collection).is_dir():
            found[name] = collection
    return found


def point(folder: Path, alias: str, collection: str) -> None:
    """Let an alias lead to a collection, atomically: every search finds the old one or the new one.

    Raises:
        CollectionError: There is no such collection, it is an alias itself, or a collection has the alias' name.
        OSError: The folder takes no writes; its file name is the alias.
    """
    if (folder / collection).is_symlink():
        raise CollectionError(f"{collection} is an alias; name the collection that it leads to")
    if not (folder / collection).is_dir():
        raise CollectionError(f"there is no collection {collection}")
    link = folder / f".alias-{secrets.token_hex(8)}"
    try:
        link.symlink_to(collection)
        try:
            link.rename(folder / alias)
        finally:
            link.unlink(missing_ok=True)
    except (IsADirectoryError, NotADirectoryError) as error:
        raise CollectionError(f"{alias} is a collection; choose another name for the alias") from error
    except OSError as error:  # its file name is the collection's, or that of the link on its way
        raise OSError(error.errno, error.strerror, str(folder / alias)) from error


def drop(folder: Path, alias: str) -> bool:
    """Delete an alias, and nothing else; return whether there was one."""
    if not (folder / alias).is_symlink():
        return False
    (folder / alias).unlink(missing_ok=True)
    return True


def check_deletable(folder: Path) -> None:
    """Raise CollectionError if the folder of a collection is an alias, or has one."""
    if folder.is_symlink():
        raise CollectionError(f"{folder.name} is an alias; delete the collection {folder.readlink()} by its own name")
    if folder.name in aliases(folder.parent).values():
        raise CollectionError(f"an alias leads to the collection {folder.name}; let it lead to another one first")
