"""What the rehearsal of operations is made of: places, clients, the pages' commands, and what was found."""
