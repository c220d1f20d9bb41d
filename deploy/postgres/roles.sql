-- Roles of the enrollment service on PostgreSQL: one that owns the tables, one for gateways, one
-- for workers and beat. No role of the service needs to be a superuser.
--
-- Run it as a superuser, in the service's own database, before or after its tables exist:
--   psql --dbname enroll --file deploy/postgres/roles.sql
-- Then give each role a password (`\password enroll_gateway`), or let pg_hba.conf authenticate it.
-- `enroll db upgrade` as enroll_migrator makes the tables, and grants what each role needs
-- (enrollment/storage/credentials/roles.py lists it). It may be run again at any time.

DO $$
DECLARE
  name text;
BEGIN
  FOREACH name IN ARRAY ARRAY['enroll_migrator', 'enroll_gateway', 'enroll_worker'] LOOP
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = name) THEN
      EXECUTE format(
        'CREATE ROLE %I LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS', name
      );
    END IF;
  END LOOP;
  EXECUTE format('REVOKE ALL ON DATABASE %I FROM PUBLIC', current_database());
  EXECUTE format(
    'GRANT CONNECT ON DATABASE %I TO enroll_migrator, enroll_gateway, enroll_worker',
    current_database()
  );
  -- Tables that another role made before now belong to the migrator, with their sequences.
  FOR name IN SELECT tablename FROM pg_tables WHERE schemaname = 'public' LOOP
    EXECUTE format('ALTER TABLE public.%I OWNER TO enroll_migrator', name);
  END LOOP;
END
$$;

REVOKE ALL ON SCHEMA public FROM PUBLIC;
GRANT USAGE, CREATE ON SCHEMA public TO enroll_migrator;
GRANT USAGE ON SCHEMA public TO enroll_gateway, enroll_worker;
