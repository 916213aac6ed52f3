"""One module for each verb that is not a deploy: what the command line calls."""
