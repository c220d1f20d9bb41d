-- Sets the passwords of the roles of `roles.sql` from the environment of psql (15 or newer), so
-- that none is in a file or on a command line. It stops if one of them is missing.
\set ON_ERROR_STOP on
\getenv migrator POSTGRES_MIGRATOR_PASSWORD
\getenv gateway POSTGRES_GATEWAY_PASSWORD
\getenv worker POSTGRES_WORKER_PASSWORD
ALTER ROLE enroll_migrator PASSWORD :'migrator';
ALTER ROLE enroll_gateway PASSWORD :'gateway';
ALTER ROLE enroll_worker PASSWORD :'worker';
