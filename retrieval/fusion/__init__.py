"""Score fusion: several rankers' scores become one order."""

from retrieval.fusion.algorithms import reciprocal_rank, smooth
from retrieval.fusion.normalization import first_of_each, ranking, zscore

__all__ = ["first_of_each", "ranking", "reciprocal_rank", "smooth", "zscore"]
