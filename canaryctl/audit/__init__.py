"""Rules over facts and configuration, and the findings they make. Pure: nothing here reads a host or a file.

The command line loads `severity` for its help, so this loads nothing by itself.
"""
