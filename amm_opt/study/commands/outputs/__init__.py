"""The commands that write what others read."""
