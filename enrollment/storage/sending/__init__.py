"""Storage that webhooks and destinations share: leases of receivers, and logs of deliveries."""
