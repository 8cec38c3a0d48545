"""Encoding, lexical scoring, caching, indexing and evaluation: the classical parts of ranking."""

import sys

# On import, OpenVINO sends telemetry to web analytics from a fork of the serving process. It sends nothing if
# the package is missing, so it is marked as missing here.
sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type] # None makes the import fail
