"""The commands: in each module the options and the work of one."""
