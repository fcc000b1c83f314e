ALTER TABLE hub.log_state DROP COLUMN expired;
