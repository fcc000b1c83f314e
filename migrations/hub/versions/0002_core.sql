-- Run as hub_owner. What the writer may do with imports and kept replies.
grant select, insert, update, delete on hub.imports, hub.import_batches, hub.replies to hub_writer;
