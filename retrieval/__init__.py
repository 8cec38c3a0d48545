"""Encoding, lexical scoring, indexing and evaluation: everything classical that ranking needs."""

import sys

# Merely imported, OpenVINO and NNCF tell web analytics of it, from a fork of the process that serves. They do without
# where this package is missing, so to them it is.
sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type] # as Python marks what must not be found
