"""Facts for health checks and metrics: backlogs, processes, servers, stored secrets."""
