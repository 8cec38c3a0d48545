"""Quotas of each tier, counted exactly, in this process or shared by all replicas."""
