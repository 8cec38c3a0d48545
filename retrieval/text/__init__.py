"""Text processing: terms and BM25, sentences, passages, and limits on text length."""
