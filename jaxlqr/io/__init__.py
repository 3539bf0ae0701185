"""Files in and out: whole or not at all, folders of unfinished work, tables, and tables for a terminal."""
