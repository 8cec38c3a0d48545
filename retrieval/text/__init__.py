"""Words, sentences, passages and chunks of texts."""
