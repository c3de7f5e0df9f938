"""Other ways to load the same star, timed beside this one."""
