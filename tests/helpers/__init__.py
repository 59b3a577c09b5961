"""What test modules share beside fixtures: imported as `helpers`."""
