"""From texts to vectors: the models and how they run."""
