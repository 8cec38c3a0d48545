"""Scripts that print the tables in docs/, peers beside us in one run."""

import retrieval  # noqa: F401 - first of all: it keeps OpenVINO from telling web analytics that it was imported
