"""Reading files and tables, and the guard of standard output."""
