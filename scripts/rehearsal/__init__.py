"""`make rehearse` and `make rollout`: docs/operations run on real servers under load, and the driver of both."""
