-- migrate:up

-- What was applied is for the owner to write down: a run role that could would have migrations left out or repeated.
DO $$
DECLARE run_role text;
BEGIN
    FOR run_role IN SELECT DISTINCT grantee FROM information_schema.role_table_grants
                    WHERE table_name = 'schema_migrations' AND grantee <> current_user
    LOOP
        EXECUTE format('REVOKE INSERT, UPDATE, DELETE ON schema_migrations FROM %I', run_role);
    END LOOP;
END $$;

-- migrate:down
DO $$
DECLARE run_role text;
BEGIN
    FOR run_role IN SELECT DISTINCT grantee FROM information_schema.role_table_grants
                    WHERE table_name = 'schema_migrations' AND grantee <> current_user
    LOOP
        EXECUTE format('GRANT INSERT, UPDATE, DELETE ON schema_migrations TO %I', run_role);
    END LOOP;
END $$;
