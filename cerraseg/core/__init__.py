"""What everything stands on: classes, names, files, logs, signals. Imports nothing of ours."""
