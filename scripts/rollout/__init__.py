"""A rolling update rehearsed: two servers behind a balancer, replaced under load, then one killed."""
