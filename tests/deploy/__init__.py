"""The files of `deploy`, each looked at by the program that it is for."""
