"""What users say of results, and the weights of the rankers that are learned from it."""
