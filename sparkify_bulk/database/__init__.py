"""The server: which one, how to connect, session settings, rights; and the embedded one."""
