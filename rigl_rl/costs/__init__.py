"""What `launch.cost` counts; the command prints it."""
