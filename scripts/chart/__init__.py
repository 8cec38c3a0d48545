"""The Helm chart: files generated from the settings, and the checks of `make chart`."""
