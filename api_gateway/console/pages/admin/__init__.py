"""Pages of operators: keys, clients, webhooks and destinations."""
