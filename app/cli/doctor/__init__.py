"""`qrerank doctor`: what is wrong with this machine, its files and the servers that it needs, and how to mend it."""
