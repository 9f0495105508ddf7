"""What a running process knows of the machine: its device, its rank among several, signals that end it."""
