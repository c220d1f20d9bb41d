"""The relay: publishes the change feed to streams; the catalog consumer reads one."""
