"""Many runs with one command: networks x data sets x stages x seeds."""
