-- Run in single-user mode at every start; statements are separated by an empty line.
-- The Unix user nobody, as which binding commands run, is the role nanocloud_bindings: it may create
-- databases and call these functions, nothing else.

DO $$ BEGIN
  IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'nanocloud_plain') THEN
    CREATE ROLE nanocloud_plain NOLOGIN;
  END IF;
  IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'nanocloud_bindings') THEN
    CREATE ROLE nanocloud_bindings LOGIN CREATEDB;
  END IF;
END $$;

-- A failing statement with a password in it must not get into the log.
ALTER ROLE nanocloud_bindings SET log_min_error_statement = 'panic';

ALTER ROLE nanocloud_bindings SET log_error_verbosity = 'terse';

CREATE SCHEMA IF NOT EXISTS nanocloud;

CREATE OR REPLACE FUNCTION nanocloud.own(name text) RETURNS void LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $$ BEGIN
  IF name = 'postgres' OR name LIKE 'pg\_%' OR name LIKE 'nanocloud\_%' THEN
    RAISE EXCEPTION 'this user belongs to the server' USING ERRCODE = 'P0001';
  END IF;
END $$;

CREATE OR REPLACE FUNCTION nanocloud.create_user(name text, pass text, tls boolean) RETURNS void LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $$ BEGIN
  PERFORM nanocloud.own(name);
  IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = name) THEN
    EXECUTE format('CREATE ROLE %I', name);
  END IF;
  EXECUTE format('ALTER ROLE %I LOGIN PASSWORD %L', name, pass);
  IF tls THEN
    EXECUTE format('REVOKE nanocloud_plain FROM %I', name);
  ELSE
    EXECUTE format('GRANT nanocloud_plain TO %I', name);
  END IF;
  EXECUTE format('GRANT %I TO nanocloud_bindings', name);
END $$;

CREATE OR REPLACE FUNCTION nanocloud.created(name text) RETURNS void LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $$ BEGIN
  PERFORM nanocloud.own(name);
  EXECUTE format('REVOKE %I FROM nanocloud_bindings', name);
END $$;

CREATE OR REPLACE FUNCTION nanocloud.revoke_user(name text) RETURNS void LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $$ BEGIN
  PERFORM nanocloud.own(name);
  IF EXISTS (SELECT FROM pg_roles WHERE rolname = name) THEN
    EXECUTE format('ALTER ROLE %I NOLOGIN PASSWORD NULL', name);
    PERFORM pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = name;
  END IF;
END $$;

REVOKE ALL ON ALL FUNCTIONS IN SCHEMA nanocloud FROM PUBLIC;

GRANT USAGE ON SCHEMA nanocloud TO nanocloud_bindings;

GRANT EXECUTE ON FUNCTION nanocloud.create_user, nanocloud.created, nanocloud.revoke_user TO nanocloud_bindings;

