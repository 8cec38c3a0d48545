"""Vector indexes and the collections that hold them."""
