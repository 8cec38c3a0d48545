"""Cross-encoders: models that read a query together with a document, and give the pair one score."""
