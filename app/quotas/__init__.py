"""How much each tier may ask for, counted exactly, in this process or for all replicas."""
