"""Developer and operator scripts; not part of the installed package."""
