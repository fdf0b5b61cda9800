"""The benchmark as tables for people."""
