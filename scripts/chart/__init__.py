"""The Helm chart: what is generated from the settings, and what `make chart` holds it to."""
