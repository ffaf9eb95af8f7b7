"""Tests of the product as its users meet it: commands, processes and files."""
