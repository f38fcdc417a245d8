"""Topics that Debezium writes, as a tool that is only read: rows of tables are records."""
